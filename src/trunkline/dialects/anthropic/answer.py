"""Take a provider's answer: whole bodies and stream events -> frames.

Plain pieces of text and thought are recognised as bytes and decoded only if somebody asks for their
meaning; everything else is decoded at once, so that calls, finish, usage and errors are met in
order.
"""

from __future__ import annotations

import re

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood, unframed
from trunkline.dialects.anthropic.errors import error_in_answer
from trunkline.dialects.anthropic.events import events_of, events_of_message
from trunkline.errors import BadAnswer
from trunkline.types import Event, Frame, Mark, Memo

_PLAIN = re.compile(
    rb'event: content_block_delta\ndata: (\{"type":"content_block_delta","index":\d+,'
    rb'"delta":\{"type":"(?:text_delta","text|thinking_delta","thinking)":"[^"\n][^\n]*\})\n\n\Z'
)


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no content.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if failure := error_in_answer(data):
        raise failure
    if not isinstance(data, dict) or not isinstance(data.get("content"), list):
        raise BadAnswer(f"the provider's answer has no content: {excerpt(body)}")
    events = understood(events_of_message(data, memo), body)
    memo.finished = True
    return Frame(body, mark_of(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error.
    """
    if _PLAIN.match(raw):
        return Frame(raw, Mark.SHOWN, _decode_lazily, memo)
    name, payload = unframed(raw)
    if not payload:
        return Frame(raw, 0, events=())
    if payload == b"[DONE]":  # a gateway's habit
        return Frame(raw, Mark.TERMINAL if memo.finished else 0, events=())
    told_plainly = name == b"error" and payload[:1] not in b"{["
    data = payload.decode("utf-8", "replace") if told_plainly else load_answer(payload)
    if error := error_in_answer(data, event=name):
        raise error
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {excerpt(payload)}")
    events = understood(events_of(data, memo), payload)
    mark = mark_of(events)
    if mark & Mark.FINISH:
        memo.finished = True
    if data.get("type") == "message_stop":
        mark |= Mark.TERMINAL
    return Frame(raw, mark, events=events)


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    return understood(events_of(load_answer(unframed(raw)[1]), memo), raw)
