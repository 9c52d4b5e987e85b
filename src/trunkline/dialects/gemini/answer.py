"""Take a provider's answer: whole bodies and stream events -> frames.

There is no mark for the end of a stream: it ends with its body, once a finish reason was seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood, unframed
from trunkline.dialects.gemini.errors import error_in_answer
from trunkline.dialects.gemini.events import events_of
from trunkline.errors import BadAnswer
from trunkline.types import Event, Finish, Frame, Mark, Memo


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    A list is a stream that was asked for without `alt=sse`, which some proxies take away.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or answers nothing.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    pieces = data if isinstance(data, list) else [data]
    events = understood(_all(pieces, body, memo), body)
    if not any(isinstance(event, Finish) for event in events):
        if not any(isinstance(piece, dict) and piece.get("candidates") for piece in pieces):
            raise BadAnswer(f"the provider's answer has no candidates: {excerpt(body)}")
        events = (*events, Finish(reason="tool_calls" if memo.calls else "unknown"))
    memo.finished = True
    return Frame(body, mark_of(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error.
    """
    _, payload = unframed(raw)
    if not payload:
        return Frame(raw, 0, events=())
    if payload == b"[DONE]":  # a gateway's habit
        return Frame(raw, Mark.TERMINAL if memo.finished else 0, events=())
    events = understood(_all([load_answer(payload)], payload, memo), payload)
    mark = mark_of(events)
    memo.hear(events, mark)
    return Frame(raw, mark, events=events)


def _all(pieces: list[Any], body: bytes, memo: Memo) -> Iterable[Event]:
    for piece in pieces:
        if failure := error_in_answer(piece):
            raise failure
        if not isinstance(piece, dict):
            raise BadAnswer(f"a piece of the provider's answer is no object: {excerpt(body)}")
        yield from events_of(piece, memo)
