"""Take a provider's answer: whole bodies and stream events -> frames.

Most events of a stream are scanned as bytes and decoded only if somebody asks for their meaning.
The scan may call a frame important that is not, never the reverse: whatever is not plainly one more
piece of text is decoded at once, so that tool calls, finish, usage and errors are met in order.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import DecodeError
from msgspec.json import decode as load

from trunkline.dialects.openai_chat.errors import decode_error, error_in_answer
from trunkline.dialects.openai_chat.events import events_of
from trunkline.errors import BadAnswer
from trunkline.types import (
    Event,
    Extra,
    Finish,
    Frame,
    Mark,
    Memo,
    Started,
    UsageReport,
)

_SHOWN, _USAGE, _FINISH, _TERMINAL = (
    int(mark) for mark in (Mark.SHOWN, Mark.USAGE, Mark.FINISH, Mark.TERMINAL)
)
_QUIET = (Started, Extra)
_WEIGHTY = re.compile(rb'"(?:finish_reason|usage|tool_calls|error)"(?!:null)')
_LINES = re.compile(rb"\r\n|\n|\r")


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no choices.
        ProviderError: the body is an error under a 200.
    """
    data = _load(body.lstrip(b"\xef\xbb\xbf \t\r\n"))
    if error := error_in_answer(data):
        raise error
    if not isinstance(data, dict) or not data.get("choices"):
        raise BadAnswer(f"the provider's answer has no choices: {_excerpt(body)}")
    events = _understood(data, body, memo, whole=True)
    memo.finished = True
    return Frame(body, _marked(events) | _SHOWN | _FINISH | _TERMINAL, events=events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error.
    """
    if (
        raw.startswith(b"data: {")
        and raw.endswith((b"}\n\n", b"}\r\n\r\n"))
        and not _WEIGHTY.search(raw)
        and _has_words(raw)
    ):
        return Frame(raw, _SHOWN, _decode_lazily, memo)
    return _decode_now(raw, memo)


def _has_words(raw: bytes) -> bool:
    """Whether a delta plainly carries text; empty strings and other spellings are looked at."""
    for opening in (b'"content":"', b'"reasoning_content":"', b'"reasoning":"'):
        at = raw.find(opening)
        if at >= 0 and raw[at + len(opening)] != 0x22:
            return True
    return False


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    payload = raw[6:] if raw.count(b"\n") == 2 else unframed(raw)[1]
    return _understood(_load(payload), raw, memo)


def _decode_now(raw: bytes, memo: Memo) -> Frame:
    name, payload = unframed(raw)
    if not payload:
        return Frame(raw, 0, events=())
    if payload == b"[DONE]":
        return Frame(raw, _TERMINAL, events=())
    if name == b"error" and not payload.startswith((b"{", b"[")):
        raise decode_error(200, {}, payload)
    data = _load(payload)
    if error := error_in_answer(data, event=name):
        raise error
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {_excerpt(payload)}")
    events = _understood(data, payload, memo)
    mark = _marked(events)
    if mark & _FINISH:
        memo.finished = True
    return Frame(raw, mark, events=events)


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
    except (DecodeError, RecursionError) as error:
        if not payload.strip():
            raise BadAnswer("the provider's answer is empty") from None
        if payload.lstrip()[:1] == b"<":
            raise BadAnswer(f"the provider answered HTML, not JSON: {_excerpt(payload)}") from None
        raise BadAnswer(
            f"the provider's answer is not valid JSON ({error}): {_excerpt(payload)}"
        ) from None


def _understood(
    data: dict[str, Any], body: bytes, memo: Memo, *, whole: bool = False
) -> tuple[Event, ...]:
    try:
        return tuple(events_of(data, memo, whole=whole))
    except (AttributeError, KeyError, TypeError) as error:
        raise BadAnswer(
            f"the provider's answer has an unknown shape ({error}): {_excerpt(body)}"
        ) from error


def _marked(events: tuple[Event, ...]) -> int:
    mark = 0
    for event in events:
        if isinstance(event, UsageReport):
            mark |= _USAGE
        elif isinstance(event, Finish):
            mark |= _FINISH
        elif not isinstance(event, _QUIET):
            mark |= _SHOWN
    return mark


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace").strip()
    return repr(text + ("..." if len(body) > 200 else ""))
