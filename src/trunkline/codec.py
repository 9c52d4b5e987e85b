"""What every dialect needs to take bytes apart: server-sent events, JSON of strangers, excerpts.

Dialects never import each other; what they have in common stands here, below them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import DecodeError
from msgspec.json import decode

from trunkline.errors import BadAnswer
from trunkline.observability.redact import scrub
from trunkline.types import Event, Extra, Finish, Mark, Started, UsageReport

BROKEN = (DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not JSON."""

BLANKS = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the JSON of a body: a byte order mark, and DeepSeek's keep-alive lines."""

_QUIET = (Started, Extra)


def unframed(raw: bytes) -> tuple[bytes, bytes]:
    """Return an event's name and its data, by the rules of server-sent events.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html 2026-11-20
    """
    name = b""
    data: list[bytes] = []
    for line in raw.removeprefix(b"\xef\xbb\xbf").splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.strip()
    return name, b"\n".join(data).strip()


def load_answer(payload: bytes) -> Any:
    """Return the JSON a provider sent.

    Raises:
        BadAnswer: it is none; says whether there was nothing, a web page or garbage.
    """
    try:
        return decode(payload)
    except BROKEN as error:
        if not payload.strip():
            raise BadAnswer("the provider's answer is empty") from None
        if payload.lstrip()[:1] == b"<":
            raise BadAnswer(f"the provider answered HTML, not JSON: {excerpt(payload)}") from None
        raise BadAnswer(
            f"the provider's answer is not valid JSON ({error}): {excerpt(payload)}"
        ) from None


def understood(events: Iterable[Event], body: bytes) -> tuple[Event, ...]:
    """Run a generator of events to its end; a shape it did not expect is a `BadAnswer`."""
    try:
        return tuple(events)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadAnswer(
            f"the provider's answer has an unknown shape ({error}): {excerpt(body)}"
        ) from error


def mark_of(events: Iterable[Event]) -> int:
    """Return what a frame with these events is to be marked with."""
    mark = 0
    for event in events:
        if isinstance(event, UsageReport):
            mark |= Mark.USAGE
        elif isinstance(event, Finish):
            mark |= Mark.FINISH
        elif not isinstance(event, _QUIET):
            mark |= Mark.SHOWN
    return mark


def excerpt(body: bytes) -> str:
    """Return the beginning of what a provider sent, for an error's text."""
    return repr(scrub(body[:2000].strip(), 200))  # scrubbed before it is cut: no half of a key
