"""Take a provider's answer: whole bodies and messages of a stream -> frames.

Plain pieces of text are recognised as bytes and decoded only if somebody asks for them. The usage
comes after the reason for the end, and ends the stream.
"""

from __future__ import annotations

import re

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood
from trunkline.dialects.bedrock.errors import error_in_answer, error_in_message
from trunkline.dialects.bedrock.events import events_of, events_of_message
from trunkline.dialects.bedrock.messages import opened
from trunkline.errors import BadAnswer
from trunkline.types import Event, Frame, Mark, Memo

_PLAIN = re.compile(rb'\{"contentBlockIndex":\d+,"delta":\{"text":"[^"]')


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no message.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if failure := error_in_answer(data):
        raise failure
    if not isinstance(data, dict) or not isinstance(data.get("output"), dict):
        raise BadAnswer(f"the provider's answer has no output: {excerpt(body)}")
    events = understood(events_of(data, memo), body)
    memo.finished = True
    return Frame(body, mark_of(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one message of a stream, framing bytes included.

    Raises:
        BadAnswer: the message is garbage.
        ProviderError: the message is an exception.
    """
    headers, payload = opened(raw)
    if headers.get(":message-type", "event") != "event":
        raise error_in_message(headers, payload)
    kind = headers.get(":event-type", "")
    if kind == "contentBlockDelta" and _PLAIN.match(payload):
        return Frame(raw, Mark.SHOWN, _decode_lazily, memo)
    events = _events(kind, payload, memo)
    mark = mark_of(events)
    if mark & Mark.FINISH:
        memo.finished = True
    return Frame(raw, mark | (Mark.TERMINAL if kind == "metadata" else 0), events=events)


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    return _events("contentBlockDelta", opened(raw)[1], memo)


def _events(kind: str, payload: bytes, memo: Memo) -> tuple[Event, ...]:
    data = load_answer(payload)
    if not isinstance(data, dict):
        raise BadAnswer(f"a message of the provider's stream is no object: {excerpt(payload)}")
    return understood(events_of_message(kind, data, memo), payload)
