"""Take a provider's answer: whole bodies and stream events -> frames.

Plain pieces of text and thought are recognised as bytes and decoded only if somebody asks for their
meaning; everything else is decoded at once, so that calls, finish, usage and errors are met in
order.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.json import decode as load

from trunkline.dialects.anthropic.broken import BROKEN
from trunkline.dialects.anthropic.errors import error_in_answer
from trunkline.dialects.anthropic.events import events_of, events_of_message
from trunkline.errors import BadAnswer
from trunkline.observability.redact import scrub
from trunkline.types import Event, Finish, Frame, Mark, Memo, Started, UsageReport

_PLAIN = re.compile(
    rb'event: content_block_delta\ndata: (\{"type":"content_block_delta","index":\d+,'
    rb'"delta":\{"type":"(?:text_delta","text|thinking_delta","thinking)":"[^"\n][^\n]*\})\n\n\Z'
)
BLANKS = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the JSON of a body."""
_LINES = re.compile(rb"\r\n|\n|\r")
_SHAPES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no content.
        ProviderError: the body is an error under a 200.
    """
    data = _load(body.lstrip(BLANKS))
    if failure := error_in_answer(data):
        raise failure
    if not isinstance(data, dict) or not isinstance(data.get("content"), list):
        raise BadAnswer(f"the provider's answer has no content: {_excerpt(body)}")
    try:
        events = tuple(events_of_message(data, memo))
    except _SHAPES as error:
        raise _unknown_shape(error, body) from error
    memo.finished = True
    return Frame(body, _marked(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


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
    data = payload.decode("utf-8", "replace") if told_plainly else _load(payload)
    if error := error_in_answer(data, event=name):
        raise error
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {_excerpt(payload)}")
    events = _understood(data, payload, memo)
    mark = _marked(events)
    if mark & Mark.FINISH:
        memo.finished = True
    if data.get("type") == "message_stop":
        mark |= Mark.TERMINAL
    return Frame(raw, mark, events=events)


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    return _understood(_load(unframed(raw)[1]), raw, memo)


def unframed(raw: bytes) -> tuple[bytes, bytes]:
    """Return an event's name and its data, by the rules of server-sent events.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html 2026-11-20
    """
    name = b""
    data: list[bytes] = []
    for line in _LINES.split(raw.removeprefix(b"\xef\xbb\xbf")):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.strip()
    return name, b"\n".join(data).strip()


def _load(payload: bytes) -> Any:
    try:
        return load(payload)
    except BROKEN as error:
        if not payload.strip():
            raise BadAnswer("the provider's answer is empty") from None
        if payload.lstrip()[:1] == b"<":
            raise BadAnswer(f"the provider answered HTML, not JSON: {_excerpt(payload)}") from None
        raise BadAnswer(
            f"the provider's answer is not valid JSON ({error}): {_excerpt(payload)}"
        ) from None


def _understood(data: dict[str, Any], body: bytes, memo: Memo) -> tuple[Event, ...]:
    try:
        return tuple(events_of(data, memo))
    except _SHAPES as error:
        raise _unknown_shape(error, body) from error


def _unknown_shape(error: Exception, body: bytes) -> BadAnswer:
    return BadAnswer(f"the provider's answer has an unknown shape ({error}): {_excerpt(body)}")


def _marked(events: tuple[Event, ...]) -> int:
    mark = 0
    for event in events:
        if isinstance(event, UsageReport):
            mark |= Mark.USAGE
        elif isinstance(event, Finish):
            mark |= Mark.FINISH
        elif not isinstance(event, Started):
            mark |= Mark.SHOWN
    return mark


def _excerpt(body: bytes) -> str:
    return repr(scrub(body[:2000].strip(), 200))  # scrubbed before it is cut: no half of a key
