"""What a failure means: the pure table from a provider's error to our tree.

`_RULES` are tried in their order and the first that holds names the class. A bad key is a 400 here,
and a 429 is either a limit per minute, which says when to come back, or an empty account.
Source: https://ai.google.dev/gemini-api/docs/troubleshooting 2026-11-20
Source: https://google.aip.dev/193 2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.json import decode as load

from trunkline.codec import BROKEN, retry_after_s, seconds_in
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    Refused,
    UpstreamFailed,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.observability.redact import scrub

Json = dict[str, Any]
_LIMIT_CHARS = 2000
_TITLE = re.compile(r"<title>\s*(.*?)\s*</title>", re.DOTALL | re.IGNORECASE)
_MONEY = re.compile(r"per ?day|limit: 0\b|billing account|prepa(y|id)|credits? (are|is) depleted")
_MONEY_REASONS = frozenset({"BILLING_DISABLED", "BILLING_NOT_ACTIVE"})
_CONTEXT = re.compile(
    r"exceeds the maximum number of tokens|input (token count|context) .{0,40}(too long|exceed)"
    r"|input token count is .{0,20}but the model supports|request payload size exceeds"
)
_POLICY = re.compile(r"(content|prompt) .{0,40}(blocked|violat)|usage polic|model armor")
_KEY = re.compile(r"api[ _-]?key (not valid|not found|expired|invalid)|pass a valid api key")
_KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "ACCESS_TOKEN_EXPIRED"})
_ELSEWHERE = re.compile(r"location is not supported|not (available|supported) in (this|your|the)")
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class _Told(NamedTuple):
    """One error, in one shape; "" where the provider says nothing."""

    status: int
    """The HTTP status, or the one an error inside a 200 stands for; 0 = none."""
    message: str = ""
    code: str = ""
    """The canonical code, as `RESOURCE_EXHAUSTED`."""
    reason: str = ""
    """What `ErrorInfo` says more precisely."""
    words: str = ""
    """The message and the quotas that were exceeded, in lower case, for finding words in."""
    retry_s: float | None = None


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Name what a non-2xx answer means; `headers` are lower case."""
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    try:
        data = load(text)
    except BROKEN:
        data = None
    error = _error_in(data)
    told = _plain(status, text) if error is None else _read(status, error)
    return _named(told, headers)


def error_in_answer(data: Any) -> ProviderError | None:
    """Return the error that a 200 answer or an event of a stream carries, if it does."""
    error = _error_in(data)
    return None if error is None else _named(_read(0, error), {})


def _error_in(data: Any) -> Json | None:
    """Return the error, which stands in a list where a stream was asked for without `alt=sse`."""
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict) or not data.get("error"):
        return None
    error = data["error"]
    return error if isinstance(error, dict) else {"message": str(error)}


def _read(status: int, error: Json) -> _Told:
    details = _objects(error.get("details"))
    code = str(error.get("status") or "")
    if not status:
        number = error.get("code")
        status = number if number.__class__ is int else _STATUSES.get(code, 0)
    message = str(error.get("message") or "")
    delay = next((one["retryDelay"] for one in details if "retryDelay" in one), "")
    quotas = [
        str(violation.get("quotaId", ""))
        for one in details
        for violation in _objects(one.get("violations"))
    ]
    return _Told(
        status,
        scrub(message, _LIMIT_CHARS),
        code,
        next((str(one["reason"]) for one in details if "reason" in one), ""),
        " ".join([message, *quotas])[:_LIMIT_CHARS].lower(),
        seconds_in(str(delay).removesuffix("s")),
    )


def _objects(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _plain(status: int, text: str) -> _Told:
    """Read what is no JSON: of a web page, its title."""
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = f"the provider answered a web page: {title[1] if title else '(no title)'}"
    return _Told(status, scrub(text, _LIMIT_CHARS), words=text[:_LIMIT_CHARS].lower())


def _named(told: _Told, headers: Mapping[str, str]) -> ProviderError:
    kind = next((kind for kind, holds in _RULES if holds(told)), UpstreamFailed)
    status = f" (HTTP {told.status})" if told.status else ""
    message = told.message or f"the provider gave no reason{status}"
    if kind is AuthFailed:
        message = f"the provider did not accept our credential{status}"
    return kind(
        message,
        upstream_status=told.status or None,
        upstream_code=told.reason or told.code or None,
        retry_after_s=told.retry_s or retry_after_s(headers),
    )


def _is_money(told: _Told) -> bool:
    if told.status == 402 or told.reason in _MONEY_REASONS:
        return True
    return told.status == 429 and bool(_MONEY.search(told.words))


def _is_auth(told: _Told) -> bool:
    if told.status in {401, 407} or told.reason in _KEY_REASONS:
        return True
    return told.status in {400, 403} and bool(_KEY.search(told.words))


def _is_context(told: _Told) -> bool:
    return told.status == 413 or (told.status == 400 and bool(_CONTEXT.search(told.words)))


def _is_missing(told: _Told) -> bool:
    return told.status == 404 or (told.status == 400 and bool(_ELSEWHERE.search(told.words)))


_RULES: tuple[tuple[type[ProviderError], Callable[[_Told], bool]], ...] = (
    (BadAnswer, lambda told: 0 < told.status < 400),
    (QuotaExhausted, _is_money),
    (AuthFailed, _is_auth),
    (ContextTooLong, _is_context),
    (UpstreamRateLimited, lambda told: told.status == 429),
    (UpstreamOverloaded, lambda told: told.status in {503, 529}),
    (
        ContentBlocked,
        lambda told: told.status in {400, 403} and bool(_POLICY.search(told.words)),
    ),
    (UpstreamNotFound, _is_missing),
    # No words named it: what is forbidden to our key is our account's affair.
    (AuthFailed, lambda told: told.status == 403),
    (Refused, lambda told: 400 <= told.status < 500 and told.status not in {408, 409, 425, 499}),
    (UpstreamFailed, lambda _: True),
)
