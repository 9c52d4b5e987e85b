"""Take a provider's answer: whole bodies and stream events -> frames."""

from __future__ import annotations

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood, unframed
from trunkline.dialects.cohere.errors import error_in_answer
from trunkline.dialects.cohere.events import answer_events, stream_events
from trunkline.errors import BadAnswer
from trunkline.types import Frame, Mark, Memo

_ENTIRE = Mark.SHOWN | Mark.FINISH | Mark.TERMINAL


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no message.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if not isinstance(data, dict) or not isinstance(data.get("message"), dict):
        if failure := error_in_answer(data):
            raise failure
        raise BadAnswer(f"the provider's answer has no message: {excerpt(body)}")
    events = understood(answer_events(data, memo), body)
    memo.finished = True
    return Frame(body, _ENTIRE | mark_of(events), events=events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error.
    """
    _, payload = unframed(raw)
    if not payload:
        return Frame(raw, 0, events=())
    if payload == b"[DONE]":  # which is no answer where nothing ended before it
        return Frame(raw, Mark.TERMINAL if memo.finished else 0, events=())
    data = load_answer(payload)
    if failure := error_in_answer(data):
        raise failure
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {excerpt(payload)}")
    events = understood(stream_events(data, memo), payload)
    mark = mark_of(events)
    if mark & Mark.FINISH:
        memo.finished = True
    return Frame(raw, mark, events=events)
