"""What every dialect needs to take bytes apart: server-sent events, JSON of strangers, headers.

Dialects never import each other; what they have in common stands here, below them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec import DecodeError, Raw, ValidationError
from msgspec.json import Decoder, decode

from trunkline.errors import BadAnswer, InputError
from trunkline.observability.redact import scrub
from trunkline.types import (
    Chat,
    Counted,
    Deployment,
    Event,
    Extra,
    Finish,
    Frame,
    Mark,
    Started,
    UsageReport,
)

BROKEN = (DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not JSON."""

BLANKS = b"\xef\xbb\xbf \t\r\n"
"""What may stand before the JSON of a body: a byte order mark, and DeepSeek's keep-alive lines."""

SEAM = b": trunkline continued on %b\n\n"
"""A comment in a stream of events, which clients pass over: from here on another deployment speaks.
"""
SEAM_START = SEAM.partition(b"%")[0]

_QUIET = (Started, Extra)
_ADDRESSES = frozenset({"fileUri", "file_uri", "uri"})
_FIELDS = Decoder(dict[str, Raw])
_NULL = Raw(b"null")
_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(f"(?:{_NUMBER}h)?(?:{_NUMBER}m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?")
_EPOCH_FROM = 1e9
_EPOCH_MS_FROM = 1e11
"""A number of seconds above the first is a moment, above the second it is one in milliseconds."""


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


def fields_of(body: bytes) -> dict[str, Raw]:
    """Take a caller's JSON object apart: its fields as they came, without those that are null.

    Raises:
        InputError: it is no JSON object.
    """
    try:
        if not body.isascii():
            body.decode()
        fields = _FIELDS.decode(body)
    except ValidationError as error:
        raise InputError(f"the request body must be a JSON object: {error}") from None
    except BROKEN as error:
        raise InputError(f"the request body is not valid JSON: {error}") from None
    if _NULL in fields.values():
        fields = {name: raw for name, raw in fields.items() if raw != _NULL}
    return fields


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


@lru_cache(maxsize=128)
def field_name(raw: bytes) -> str:
    """Return the name of a header in lower case; the same few come again and again."""
    return sys.intern(raw.decode("latin-1").lower())


def excerpt(body: bytes) -> str:
    """Return the beginning of what a provider sent, for an error's text."""
    return repr(scrub(body[:2000].strip(), 200))  # scrubbed before it is cut: no half of a key


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer's headers (lower case) ask to wait; None = they do not.

    A zero says nothing: Azure sends `retry-after-ms: 0` beside `retry-after: 1`. A date is counted
    from the answer's own `date`, so that no clock is needed.
    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after 2026-11-20
    """
    if ms := seconds_in(headers.get("retry-after-ms", "")):
        return ms / 1000
    value = headers.get("retry-after", "")
    if seconds := seconds_in(value):
        return seconds
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    return _between_s(now, then)


def room_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a rate limit has room again, by an answer's headers (lower case).

    Only limits of which nothing remains count; None = there is none that says when. A reset is a
    duration (`6ms`, `1m3s`, or seconds), a date, or seconds or milliseconds since the epoch; the
    latter are counted from the answer's own `date`. Where several are used up it is the latest.
    Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers,
    https://docs.anthropic.com/en/api/rate-limits#response-headers,
    https://openrouter.ai/docs/api-reference/limits 2026-11-20
    """
    found = [
        _reset_s(headers.get(name.replace("remaining", "reset"), ""), headers.get("date", ""))
        for name, value in headers.items()
        if "ratelimit" in name and "remaining" in name and seconds_in(value) == 0
    ]
    return max((wait_s for wait_s in found if wait_s), default=None)


def _reset_s(text: str, date: str) -> float | None:
    parts = _DURATION.fullmatch(text)
    if text and parts is not None:
        hours, minutes, seconds, millis = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds + millis / 1000
    value = seconds_in(text)
    if value is not None and value < _EPOCH_FROM:
        return value
    from email.utils import parsedate_to_datetime

    try:
        now = parsedate_to_datetime(date)
        if value is None:
            then = datetime.fromisoformat(text)
        else:
            then = datetime.fromtimestamp(value / 1000 if value > _EPOCH_MS_FROM else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return _between_s(now, then)


def _between_s(now: datetime, then: datetime) -> float:
    then, now = (day if day.tzinfo else day.replace(tzinfo=UTC) for day in (then, now))
    return max((then - now).total_seconds(), 0.0)


def seconds_in(text: str) -> float | None:
    """Return the number in `text`, if it can be a time to wait."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def begins_anew(chat: Chat, deployment: Deployment) -> bool:
    """Return False, as the `continues` of a dialect whose models go on from no beginning."""
    return False


def counted(body: bytes, field: str) -> Frame:
    """Take a provider's count of tokens, which stands in `field`, as one terminal frame.

    Raises:
        BadAnswer: there is no such number.
    """
    data = load_answer(body.lstrip(BLANKS))
    tokens = data.get(field) if isinstance(data, dict) else None
    if tokens.__class__ is not int or tokens < 0:
        raise BadAnswer(f"the provider's answer has no {field}: {excerpt(body)}")
    return Frame(body, Mark.SHOWN | Mark.TERMINAL, events=(Counted(tokens=tokens),))


def check_buckets(spelled: Any, scheme: str, deployment: Deployment) -> None:
    """Refuse addresses in buckets that the configuration does not list.

    Providers read them with the rights of the account, which are not the caller's.

    Raises:
        InputError: there is one.
    """
    if isinstance(spelled, list):
        for one in spelled:
            check_buckets(one, scheme, deployment)
    for name, value in spelled.items() if isinstance(spelled, dict) else ():
        if name not in _ADDRESSES or not isinstance(value, str):
            check_buckets(value, scheme, deployment)
        elif value.startswith(scheme):
            bucket = value.removeprefix(scheme).partition("/")[0]
            if bucket not in deployment.buckets:
                raise InputError(
                    f"'messages': {value[:200]!r} would be read with the rights of the account; "
                    f"send it as base64 (a data: URL), or list {bucket[:99]!r} in 'buckets' of "
                    f"provider {deployment.provider!r}",
                    param="messages",
                )
