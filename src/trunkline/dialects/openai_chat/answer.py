"""Take a provider's answer: whole bodies and stream events -> frames.

Most events of a stream are scanned as bytes and decoded only if somebody asks for their meaning.
The scan may call a frame important that is not, never the reverse: whatever is not plainly one more
piece of text is decoded at once, so that tool calls, finish, usage and errors are met in order.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.json import decode as load

from trunkline.dialects.openai_chat.broken import BROKEN
from trunkline.dialects.openai_chat.errors import error_in_answer
from trunkline.dialects.openai_chat.events import events_of
from trunkline.errors import BadAnswer
from trunkline.observability.redact import scrub
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

_QUIET = (Started, Extra)
_WEIGHTY = re.compile(rb'"(?:finish_reason|usage|tool_calls|error)"(?!:null)')
BLANKS = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the JSON of a body: a byte order mark, and DeepSeek's keep-alive lines."""
_LINES = re.compile(rb"\r\n|\n|\r")


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no choices.
        ProviderError: the body is an error under a 200.
    """
    data = _load(body.lstrip(BLANKS))
    if error := error_in_answer(data):
        raise error
    if not isinstance(data, dict) or not data.get("choices"):
        raise BadAnswer(f"the provider's answer has no choices: {_excerpt(body)}")
    events = _understood(data, body, memo, whole=True)
    memo.finished = True
    return Frame(body, _marked(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


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
        return Frame(raw, Mark.SHOWN, _decode_lazily, memo)
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
        return Frame(raw, Mark.TERMINAL, events=())
    told_plainly = name == b"error" and payload[:1] not in b"{["
    data = payload if told_plainly else _load(payload)
    if error := error_in_answer(data, event=name):
        raise error
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {_excerpt(payload)}")
    events = _understood(data, payload, memo)
    mark = _marked(events)
    if mark & Mark.FINISH:
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
    except BROKEN as error:
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
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadAnswer(
            f"the provider's answer has an unknown shape ({error}): {_excerpt(body)}"
        ) from error


def _marked(events: tuple[Event, ...]) -> int:
    mark = 0
    for event in events:
        if isinstance(event, UsageReport):
            mark |= Mark.USAGE
        elif isinstance(event, Finish):
            mark |= Mark.FINISH
        elif not isinstance(event, _QUIET):
            mark |= Mark.SHOWN
    return mark


def _excerpt(body: bytes) -> str:
    return repr(scrub(body[:2000].strip(), 200))  # scrubbed before it is cut: no half of a key
