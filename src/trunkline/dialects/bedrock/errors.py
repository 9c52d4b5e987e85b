"""What a failure means: the pure table from a provider's error to our tree.

The type of an error stands in a header, in the body, or in the headers of a stream's message; it
decides with the words. `_RULES` are tried in their order and the first that holds names the class.
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.json import decode as load

from trunkline.codec import BROKEN, retry_after_s
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
_STATUSES = {
    "accessdenied": 403,
    "internalserver": 500,
    "modelerror": 424,
    "modelnotready": 429,
    "modelstreamerror": 424,
    "modeltimeout": 408,
    "resourcenotfound": 404,
    "servicequotaexceeded": 400,
    "serviceunavailable": 503,
    "throttling": 429,
    "validation": 400,
}
_AUTH = frozenset(
    {
        *("expiredtoken", "incompletesignature", "invalidclienttokenid", "invalidsignature"),
        *("missingauthenticationtoken", "notauthorized", "optinrequired", "signaturedoesnotmatch"),
        *("unauthorized", "unrecognizedclient"),
    }
)
_LATE = re.compile(r"signature expired|signature not yet current")
_LATE_TYPES = frozenset({"requestexpired", "requestinthefuture", "requesttimetooskewed"})
_MONEY = re.compile(r"per ?day|payment.instrument|billing|subscription")
_CONTEXT = re.compile(
    r"input tokens exceeded|(input|prompt) is too long|too many (input )?tokens"
    r"|exceeds? .{0,40}(context|maximum .{0,20}tokens)|maximum context length"
)
_MISSING = re.compile(
    r"model identifier is invalid|on-demand throughput|end of its life|model .{0,40}not (found|"
    r"supported in)|don.t have access to the model|does not exist"
)
_POLICY = re.compile(r"content filter|blocked by .{0,40}polic|usage polic")


class _Told(NamedTuple):
    """One error, in one shape; "" where the provider says nothing."""

    status: int
    """The HTTP status, or the one an error inside a 200 stands for; 0 = none."""
    message: str = ""
    code: str = ""
    """The type, as `ThrottlingException`."""

    @property
    def words(self) -> str:
        """What it says, in lower case, for finding words in."""
        return self.message.lower()

    @property
    def kind(self) -> str:
        """The type without its ending, in lower case: streams write it differently."""
        return self.code.lower().removesuffix("exception")


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Name what a non-2xx answer means; `headers` are lower case."""
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    try:
        data = load(text)
    except BROKEN:
        data = None
    told = _plain(text) if not isinstance(data, dict) else _read(data)
    code = headers.get("x-amzn-errortype", "").partition(":")[0] or told.code
    return _named(told._replace(status=status, code=code), headers)


def error_in_answer(data: Any) -> ProviderError | None:
    """Return the error that a 200 answer carries, if it does."""
    if not isinstance(data, dict) or "output" in data:
        return None
    told = _read(data)
    return _named(told, {}) if told.code else None


def error_in_message(headers: Mapping[str, str], payload: bytes) -> ProviderError:
    """Return what an exception in a stream means; an error has no payload, only headers."""
    try:
        data = load(payload)
    except BROKEN:
        data = None
    told = _read(data) if isinstance(data, dict) else _plain(payload.decode("utf-8", "replace"))
    code = headers.get(":exception-type") or headers.get(":error-code") or told.code
    message = told.message or scrub(headers.get(":error-message", ""), _LIMIT_CHARS)
    return _named(told._replace(code=code, message=message), {})


def _read(data: Json) -> _Told:
    """Read an object; `originalMessage` is what the model itself said."""
    code = str(data.get("__type") or "").rpartition("#")[2]
    said = (data.get("message") or data.get("Message"), data.get("originalMessage"))
    message = ": ".join(str(one) for one in said if one)
    return _Told(0, scrub(message, _LIMIT_CHARS), code)


def _plain(text: str) -> _Told:
    """Read what is no JSON: of a web page, its title."""
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = f"the provider answered a web page: {title[1] if title else '(no title)'}"
    return _Told(0, scrub(text, _LIMIT_CHARS))


def _named(told: _Told, headers: Mapping[str, str]) -> ProviderError:
    if not told.status:
        told = told._replace(status=_STATUSES.get(told.kind, 0))
    kind = next((kind for kind, holds in _RULES if holds(told)), UpstreamFailed)
    status = f" (HTTP {told.status})" if told.status else ""
    message = told.message or f"the provider gave no reason{status}"
    if kind is AuthFailed:
        message = f"the provider did not accept our credential{status}"
    return kind(
        message,
        upstream_status=told.status or None,
        upstream_code=told.code or None,
        retry_after_s=retry_after_s(headers),
    )


def _is_late(told: _Told) -> bool:
    """Whether our clock was wrong. The transport has learned the right time: try again."""
    return told.kind in _LATE_TYPES or bool(_LATE.search(told.words))


def _is_missing(told: _Told) -> bool:
    return told.status == 404 or (told.status in {400, 403} and bool(_MISSING.search(told.words)))


_RULES: tuple[tuple[type[ProviderError], Callable[[_Told], bool]], ...] = (
    (BadAnswer, lambda told: 0 < told.status < 400),
    (UpstreamFailed, _is_late),
    (
        QuotaExhausted,
        lambda told: (
            told.status == 402
            or told.kind == "servicequotaexceeded"
            or (told.status in {400, 403, 429} and _MONEY.search(told.words) is not None)
        ),
    ),
    (AuthFailed, lambda told: told.kind in _AUTH or told.status in {401, 407}),
    (UpstreamOverloaded, lambda told: told.kind == "modelnotready" or told.status in {503, 529}),
    (UpstreamRateLimited, lambda told: told.status == 429),
    # After the rate, which is counted in tokens too.
    (ContextTooLong, lambda told: told.status == 413 or bool(_CONTEXT.search(told.words))),
    (UpstreamNotFound, _is_missing),
    (ContentBlocked, lambda told: told.status == 400 and bool(_POLICY.search(told.words))),
    # No words named it: what is forbidden to our key is our account's affair.
    (AuthFailed, lambda told: told.status == 403),
    (
        Refused,
        lambda told: 400 <= told.status < 500 and told.status not in {408, 409, 424, 425, 499},
    ),
    (UpstreamFailed, lambda _: True),
)
