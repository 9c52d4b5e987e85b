"""What a failure means: the pure table from a server's error to our tree.

An error is `{"error": "words"}`, with a status or as a line of a stream; the words of its runner
may be JSON within them. `_RULES` are tried in their order and the first that holds names the class.
Source: https://docs.ollama.com/api/errors 2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BROKEN, retry_after_s
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
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
_CONTEXT = re.compile(
    r"exceeds? the (available |max(imum)? )?context|exceeded max context|prompt (is )?too long"
    r"|exceed_context_size|longer than the context"
)
_MISSING = re.compile(r"model ['\"](?P<name>[^'\"]{1,200})['\"] not found")
_UNABLE = re.compile(r"does not support (tools|thinking|chat|vision|images)|not supported for this")
_BUSY = re.compile(r"server busy|maximum pending requests|overloaded|more system memory")
_MONEY = re.compile(r"(weekly|monthly|daily|hourly|session) usage limit|upgrade (for|to)|payment")


class _Told(NamedTuple):
    """One error, in one shape; "" where the server says nothing."""

    status: int
    """The HTTP status; 0 = it came inside a 200."""
    message: str = ""
    code: str = ""

    @property
    def words(self) -> str:
        """What it says, in lower case, for finding words in."""
        return self.message.lower()


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Name what a non-2xx answer means; `headers` are lower case."""
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    try:
        data = load(text)
    except BROKEN:
        data = text
    return _named(_read(status, data), headers)


def error_in_answer(data: Any) -> ProviderError | None:
    """Return the error that a 200 answer or a line of a stream carries, if it does."""
    if not isinstance(data, dict) or not data.get("error"):
        return None
    return _named(_read(0, data), {})


def _read(status: int, data: Any) -> _Told:
    """Read Ollama's shape, OpenAI's, and what is no JSON: of a web page, its title."""
    code: object = ""
    for _ in range(4):  # an object in a string in an object: what the runner said
        if isinstance(data, dict):
            code = data.get("type") or data.get("code") or code
            data = data.get("error") or data.get("message") or dump(data).decode()
        elif isinstance(data, str) and data.startswith("{"):
            try:
                data = load(data)
            except BROKEN:
                break
    text = data if isinstance(data, str) else dump(data).decode()
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = f"the provider answered a web page: {title[1] if title else '(no title)'}"
    return _Told(status, scrub(text, _LIMIT_CHARS), str(code))


def _named(told: _Told, headers: Mapping[str, str]) -> ProviderError:
    kind = next((kind for kind, holds in _RULES if holds(told)), UpstreamFailed)
    status = f" (HTTP {told.status})" if told.status else ""
    message = told.message or f"the provider gave no reason{status}"
    if kind is AuthFailed:
        message = f"the provider did not accept our credential{status}"
    elif kind is UpstreamNotFound and (missing := _MISSING.search(message)):
        message += f"; get it with: ollama pull {missing['name']}"
    elif kind is ContextTooLong:
        message += "; a larger context is set by options.num_ctx, or OLLAMA_CONTEXT_LENGTH there"
    return kind(
        message,
        upstream_status=told.status or None,
        upstream_code=told.code or None,
        retry_after_s=retry_after_s(headers),
    )


def _is_missing(told: _Told) -> bool:
    return told.status == 404 or (told.status in {0, 400} and bool(_MISSING.search(told.words)))


def _is_request(told: _Told) -> bool:
    if told.status:
        return 400 <= told.status < 500 and told.status not in {408, 409, 425, 499}
    return bool(_UNABLE.search(told.words))


_RULES: tuple[tuple[type[ProviderError], Callable[[_Told], bool]], ...] = (
    (BadAnswer, lambda told: 0 < told.status < 400),
    (
        QuotaExhausted,
        lambda told: (
            told.status == 402
            or (told.status in {403, 429} and _MONEY.search(told.words) is not None)
        ),
    ),
    (AuthFailed, lambda told: told.status in {401, 403, 407} or told.words == "unauthorized"),
    # Whatever its status: the runner's own is a 500 in some versions.
    (ContextTooLong, lambda told: told.status == 413 or bool(_CONTEXT.search(told.words))),
    (UpstreamRateLimited, lambda told: told.status == 429),
    (UpstreamOverloaded, lambda told: told.status in {503, 529} or bool(_BUSY.search(told.words))),
    (UpstreamNotFound, _is_missing),
    (Refused, _is_request),
    (UpstreamFailed, lambda _: True),
)
