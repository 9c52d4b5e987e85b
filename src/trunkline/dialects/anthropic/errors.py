"""What a failure means: the pure table from a provider's error to our tree.

`_RULES` are tried in their order and the first that holds names the class. The order is the policy:
money before rate (both may be 429), words before status (an empty account is a 400).
Source: https://platform.claude.com/docs/en/api/errors 2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BROKEN, retry_after_s, room_after_s
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

_LIMIT_CHARS = 2000
_TITLE = re.compile(r"<title>\s*(.*?)\s*</title>", re.DOTALL | re.IGNORECASE)
_MONEY = re.compile(
    r"credit balance is too low|specified api usage limits|spend(ing)? limit|insufficient (balance"
    r"|credit|quota)|billing (is not|account)|payment required"
)
_MONEY_CODES = re.compile(r"spend_limit_reached|billing|organization_on_hold|not_billable")
_CONTEXT = re.compile(
    r"prompt (is )?too long|input (is )?too long|exceed(s|ed)? (the )?(context|maximum context)"
    r"|maximum context|context (length|window|size)|input length and `?max_tokens`? exceed"
)
_POLICY = re.compile(
    r"content[ _](filtering|management|filter)|usage polic|blocked by .{0,20}polic"
)
_KEY = re.compile(r"(invalid|missing|incorrect|expired|no) (x-)?api[ -]?key|invalid bearer token")
_MISSING = re.compile(r"model .{0,80}(not found|does not exist|no longer available)")
_EDGES = frozenset({503, 520, 521, 522, 523, 524, 529})


class _Told(NamedTuple):
    """One error, in one shape; "" where the provider says nothing."""

    status: int
    """The HTTP status; 0 = it came inside a 200."""
    message: str = ""
    type: str = ""
    code: str = ""
    """`details.error_code`, which names a cause more precisely than the type."""

    @property
    def words(self) -> str:
        """What it says, in lower case, for finding words in."""
        return self.message.lower()


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Name what a non-2xx answer means; `headers` are lower case."""
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    try:
        told = _read(status, load(text))
    except BROKEN:
        told = _plain(status, text)
    return _named(told, headers)


def error_in_answer(data: Any, event: bytes = b"") -> ProviderError | None:
    """Return the error a 200 answer or an event of a stream carries, if it does."""
    if event == b"error" or (
        isinstance(data, dict) and (data.get("type") == "error" or data.get("error"))
    ):
        return _named(_read(0, data), {})
    return None


def _read(status: int, body: Any) -> _Told:
    """Read Anthropic's shape, and those of the proxies in front of it."""
    if not isinstance(body, dict):
        return _plain(status, body if isinstance(body, str) else dump(body).decode())
    error = body.get("error") or body
    if not isinstance(error, dict):
        error = {"message": error}
    said = error.get("message") or error.get("detail") or ""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else error.get("code")
    kind = error.get("type")
    return _Told(
        status,
        scrub(said if isinstance(said, str) else dump(said).decode(), _LIMIT_CHARS),
        kind if isinstance(kind, str) and kind != "error" else "",
        str(code or ""),
    )


def _plain(status: int, text: str) -> _Told:
    """Read what is no JSON: of a web page, its title."""
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = f"the provider answered a web page: {title[1] if title else '(no title)'}"
    return _Told(status, scrub(text, _LIMIT_CHARS))


def _named(told: _Told, headers: Mapping[str, str]) -> ProviderError:
    kind = next((kind for kind, holds in _RULES if holds(told)), UpstreamFailed)
    status = f" (HTTP {told.status})" if told.status else ""
    message = told.message or f"the provider gave no reason{status}"
    if kind is AuthFailed:
        message = f"the provider did not accept our credential{status}"
    wait_s = retry_after_s(headers)
    if wait_s is None and kind is UpstreamRateLimited:
        wait_s = room_after_s(headers)
    return kind(
        message,
        upstream_status=told.status or None,
        upstream_code=told.code or told.type or None,
        retry_after_s=wait_s,
    )


def _is_money(told: _Told) -> bool:
    if told.status == 402 or told.type == "billing_error" or _MONEY_CODES.search(told.code):
        return True
    return told.status in {0, 400, 403, 429} and bool(_MONEY.search(told.words))


def _is_auth(told: _Told) -> bool:
    if told.status in {401, 407} or told.type == "authentication_error":
        return True
    return told.status in {400, 403} and bool(_KEY.search(told.words))


def _is_context(told: _Told) -> bool:
    # 413: too many bytes for one provider, may fit another.
    return told.status == 413 or (
        told.status in {0, 400, 422} and bool(_CONTEXT.search(told.words))
    )


def _is_missing(told: _Told) -> bool:
    if told.status == 404 or told.type == "not_found_error":
        return True
    return told.status == 400 and bool(_MISSING.search(told.words))


def _is_request(told: _Told) -> bool:
    if told.status:
        return 400 <= told.status < 500 and told.status not in {408, 409, 425, 499}
    return told.type == "invalid_request_error"


_RULES: tuple[tuple[type[ProviderError], Callable[[_Told], bool]], ...] = (
    (BadAnswer, lambda told: 0 < told.status < 400),
    (QuotaExhausted, _is_money),
    (AuthFailed, _is_auth),
    (ContextTooLong, _is_context),
    (UpstreamRateLimited, lambda told: told.status == 429 or told.type == "rate_limit_error"),
    (UpstreamOverloaded, lambda told: told.status in _EDGES or told.type == "overloaded_error"),
    (
        ContentBlocked,
        lambda told: told.status in {0, 400, 403} and bool(_POLICY.search(told.words)),
    ),
    (UpstreamNotFound, _is_missing),
    # No words named it: what is forbidden to our key is our account's affair.
    (AuthFailed, lambda told: told.status == 403 or told.type == "permission_error"),
    (Refused, _is_request),
    (UpstreamFailed, lambda _: True),
)
