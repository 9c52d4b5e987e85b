"""What a failure means: the pure table from a provider's error to our tree.

An error is `{"id", "message"}`, some with an `error_type`. `_RULES` are tried in their order and
the first that holds names the class.
Source: https://docs.cohere.com/reference/errors 2026-11-20
Source: https://github.com/cohere-ai/cohere-python (errors) 2026-11-20
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

_LIMIT_CHARS = 2000
_CONTEXT = re.compile(r"too many tokens|context length|prompt (is )?too long")
_MONEY = re.compile(r"per month|/ ?month|billing|payment|credit")
_BLOCKED = re.compile(r"blocked|toxic|content policy")


class _Told(NamedTuple):
    """One error; "" where the provider says nothing."""

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
        data = {"message": "the provider answered a web page" if text[:1] == "<" else text}
    return _named(_read(status, data), headers)


def error_in_answer(data: Any) -> ProviderError | None:
    """Return the error that a 200 answer or an event of a stream carries, if it does."""
    if not isinstance(data, dict):
        return None
    ending = data.get("delta") if data.get("type") == "message-end" else None
    if isinstance(ending, dict) and ending.get("error"):
        return _named(_read(0, {"message": ending["error"]}), {})
    if isinstance(data.get("message"), str) and "type" not in data:
        return _named(_read(0, data), {})
    return None


def _read(status: int, data: Any) -> _Told:
    said = data if isinstance(data, dict) else {}
    message = said.get("message") or said.get("error") or ""
    code = said.get("error_type") or ""
    return _Told(status, scrub(str(message), _LIMIT_CHARS), str(code))


def _named(told: _Told, headers: Mapping[str, str]) -> ProviderError:
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


_RULES: tuple[tuple[type[ProviderError], Callable[[_Told], bool]], ...] = (
    (BadAnswer, lambda told: 0 < told.status < 400),
    (
        QuotaExhausted,
        lambda told: told.status == 402 or (told.status == 429 and bool(_MONEY.search(told.words))),
    ),
    # 498 is an invalid token in Cohere's SDK.
    (AuthFailed, lambda told: told.status in {401, 403, 498}),
    (UpstreamRateLimited, lambda told: told.status == 429),  # "too many tokens" a minute as well
    (
        ContextTooLong,
        lambda told: told.code == "TOO_MANY_TOKENS" or bool(_CONTEXT.search(told.words)),
    ),
    (ContentBlocked, lambda told: told.status < 500 and bool(_BLOCKED.search(told.words))),
    (UpstreamOverloaded, lambda told: told.status in {503, 529}),
    (UpstreamNotFound, lambda told: told.status == 404),
    (Refused, lambda told: 400 <= told.status < 499 and told.status not in {408, 409, 425}),
    (UpstreamFailed, lambda _: True),
)
