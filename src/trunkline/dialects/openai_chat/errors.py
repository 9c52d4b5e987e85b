"""What a failure means: the pure table from a provider's error to our tree.

`said` reads the many shapes of error bodies into one `Said`; `_RULES` are tried in their order and
the first that holds names the class. The order is the policy: money before rate (both are 429),
size before rate (waiting never helps), words before status (a wrong key may be a 400).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trunkline.codec import retry_after_s, room_after_s
from trunkline.dialects.openai_chat.said import Said, said
from trunkline.errors import (
    AuthFailed,
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    ProviderError,
    QuotaExhausted,
    Refused,
    RequestTooLarge,
    UpstreamFailed,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamRateLimited,
)

_KEY = re.compile(
    r"(incorrect|invalid|wrong|missing|expired|no)\W+(\w+\W+){0,2}api[ _-]?key"
    r"|api[ _-]?key\W+(\w+\W+){0,3}(invalid|expired|not valid|missing|not found|required)"
    r"|authentication fail|invalid authentication|unauthorized"
)
_CONTEXT = re.compile(
    r"(maximum|model'?s|available|max) (allowed )?context|context (length|window|size)"
    r"|prompt (is )?too long|input (is )?too long|input tokens? exceed|input token count"
    r"|too many (input |prompt )?tokens|messages is too long|longer than the model"
)
_POLICY = re.compile(
    r"content[ _](management )?(policy|filter)|responsibleaipolicy|flagged|requires moderation"
    r"|safety (system|check|guard)|usage guidelines"
)
_MISSING = re.compile(
    r"(model|deployment)\b.{0,120}(does not exist|not found|not a valid model|unknown|no longer)"
    r"|(invalid|unknown|no such) model|supported api model names|not a valid model"
)
_MONEY = re.compile(
    r"exceeded your current quota|insufficient (balance|credit|quota|fund)|credit balance"
    r"|(out of|no|all available|not enough) credits|spend(ing)? limit|payment required|perday"
    r"|billing (hard limit|is not active|account)"
)
_QUOTA_CODES = re.compile(
    r"insufficient_quota|credit_balance|spend_limit|usage_limit_exceeded|billing|payment_required"
    r"|insufficient_balance|exceeded_current_quota|quota_exceeded|^1113$"
)
_UNLOADED = re.compile(
    r"model (is |was |has been )?(unloaded|not loaded)|failed to load (the )?model"
    r"|model has crashed"
)
"""LM Studio's words, under a 400, for what another server may well answer.
Source: https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/1492 2026-11-20"""
_SIZE = re.compile(r"limit:?\s+(\d[\d,]*?),?\s.*?requested:?\s+(\d[\d,]*)", re.DOTALL)
_MODEL_FAULT = frozenset({"tool_use_failed", "json_validate_failed", "output_parse_failed"})
_EDGES = frozenset({498, 503, 520, 521, 522, 523, 524, 529})


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Name what a non-2xx answer means; `headers` are lower case.

    Source: https://platform.openai.com/docs/guides/error-codes 2026-11-20
    """
    return _named(said(status, body), headers)


def error_in_answer(data: Any, event: bytes = b"") -> ProviderError | None:
    """Return the error a 200 answer or an event of a stream carries, if it does.

    An object with choices is an error only when it says `error`; one without also when it looks
    like any error body. Groq names the event `error`; Gemini's compatible endpoint sends a list.
    Source: https://openrouter.ai/docs/api-reference/errors 2026-11-20
    """
    inner = data[0] if isinstance(data, list) and data else data
    if not isinstance(inner, dict):
        return _named(said(0, data), {}) if event == b"error" else None
    choices = inner.get("choices")
    listed = choices if isinstance(choices, list) else ()
    broken = next((c for c in listed if isinstance(c, dict) and c.get("error")), inner)
    odd = not choices and "id" not in inner and bool({"message", "detail"} & inner.keys())
    if broken.get("error") or event == b"error" or inner.get("object") == "error" or odd:
        return _named(said(0, broken), {})
    return None


def _named(told: Said, headers: Mapping[str, str]) -> ProviderError:
    kind = next((kind for kind, holds in _RULES if holds(told)), UpstreamFailed)
    status = f" (HTTP {told.status})" if told.status else ""
    message = told.message or f"the provider gave no reason{status}"
    if kind is AuthFailed:
        message = f"the provider did not accept our credential{status}"
    wait_s = retry_after_s(headers)
    if wait_s is None:
        wait_s = told.retry_s
    if wait_s is None and kind is UpstreamRateLimited:
        wait_s = room_after_s(headers)
    return kind(
        message,
        upstream_status=told.status or None,
        upstream_code=told.code or told.type or None,
        param=told.param,
        retry_after_s=wait_s,
    )


def _is_quota(told: Said) -> bool:
    if told.status == 402 or _QUOTA_CODES.search(f"{told.code} {told.type}".lower()):
        return True
    # Gemini uses the words of an empty account for its limit per minute, and then says when.
    soon = told.retry_s is not None and "perday" not in told.words
    return told.status in {0, 400, 403, 429} and bool(_MONEY.search(told.words)) and not soon


def _is_auth(told: Said) -> bool:
    if told.status == 401 or told.code in {"invalid_api_key", "API_KEY_INVALID"}:
        return True
    return told.status in {0, 400, 403} and bool(_KEY.search(told.words))


def _is_too_large(told: Said) -> bool:
    if told.status not in {0, 413, 429}:
        return False
    size = _SIZE.search(told.words)
    if size is not None:
        limit, wanted = (int(number.replace(",", "")) for number in size.groups())
        return wanted > limit
    return "request too large for" in told.words


def _is_context(told: Said) -> bool:
    names = f"{told.code} {told.type}".lower()
    if re.search(r"context_length|exceed_context|too_many(_prompt)?_tokens", names):
        return True
    return told.status in {0, 400, 413, 422, 500} and bool(_CONTEXT.search(told.words))


def _is_policy(told: Said) -> bool:
    names = f"{told.code} {told.type}".lower()
    if re.search(r"content_(filter|policy)|responsibleai|moderation", names):
        return True
    return told.status in {0, 400, 403} and bool(_POLICY.search(told.words))


def _is_missing(told: Said) -> bool:
    if told.status == 404 or told.type == "invalid_model":
        return True
    if told.code in {"model_not_found", "DeploymentNotFound", "1500"}:
        return True
    return told.status in {0, 400, 403} and bool(_MISSING.search(told.words))


def _is_rate(told: Said) -> bool:
    names = f"{told.code} {told.type}".lower()
    return told.status == 429 or "rate_limit" in names or "ratelimit" in names


def _is_overload(told: Said) -> bool:
    if told.status in _EDGES:
        return True
    names = f"{told.code} {told.type}".lower()
    return bool(re.search(r"overloaded|slow_down|capacity_exceeded|unavailable", names))


def _is_request(told: Said) -> bool:
    if told.status:
        return 400 <= told.status < 500 and told.status not in {408, 409, 425, 499}
    return "invalid_request" in f"{told.code} {told.type}".lower()


_RULES: tuple[tuple[type[ProviderError], Callable[[Said], bool]], ...] = (
    # The model wrote a broken call or broken JSON (Groq): a 400 that is not the caller's fault.
    (BadAnswer, lambda told: told.code in _MODEL_FAULT or 0 < told.status < 400),
    (QuotaExhausted, _is_quota),
    (AuthFailed, _is_auth),
    (RequestTooLarge, _is_too_large),
    (ContextTooLong, _is_context),
    (UpstreamRateLimited, _is_rate),
    (UpstreamOverloaded, _is_overload),
    (ContentBlocked, _is_policy),
    (UpstreamNotFound, _is_missing),
    (UpstreamFailed, lambda told: bool(_UNLOADED.search(told.words))),
    # No words named it: too many bytes for one, may fit another; any other 403 is our account's.
    (ContextTooLong, lambda told: told.status == 413),
    (AuthFailed, lambda told: told.status in {403, 407}),
    (Refused, _is_request),
    (UpstreamFailed, lambda _: True),
)
