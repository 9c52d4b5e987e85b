"""Token arithmetic: every provider's `usage` object -> `Usage`, and back.

The rule of the family is total = prompt + completion, with cached inside prompt and reasoning
inside completion. What deviates: xAI (and gateways before it) count reasoning outside completion,
Mistral counts audio outside prompt, Gemini's compatible endpoint hides thoughts in the total, and
some report more cached than prompt or more reasoning than completion tokens. The numbers themselves
tell the first two; the third needs the quirk `hidden_thoughts`.
Source: https://docs.x.ai/docs/guides/reasoning 2026-11-20
Source: https://docs.mistral.ai/capabilities/audio/ 2026-11-20
Source: https://ai.google.dev/gemini-api/docs/openai 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from trunkline.types import Cost, Usage
from trunkline.types.answer import served_tier

Json = Mapping[str, Any]
_NONE: Json = {}
_TOTALS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def usage_of(wire: Json, quirks: frozenset[str], tier: Any = None) -> Usage:
    """Normalise a `usage` object; missing, null and malformed numbers count as not said.

    `tier` is the `service_tier` of the answer, which stands beside its usage; Mistral's stands in
    it.
    """
    service_tier = served_tier(tier or wire.get("service_tier"))
    if _is_plain(wire):
        return Usage(
            prompt_tokens=wire["prompt_tokens"],
            completion_tokens=wire["completion_tokens"],
            service_tier=service_tier,
        )
    prompt, completion = _count(wire, "prompt_tokens"), _count(wire, "completion_tokens")
    total = _count(wire, "total_tokens")
    given, made = _object(wire, "prompt_tokens_details"), _object(wire, "completion_tokens_details")
    heard, spoken = _count(given, "audio_tokens"), _count(made, "audio_tokens")
    reasoning = _count(made, "reasoning_tokens") or _count(wire, "reasoning_tokens")
    outside = total - prompt - completion
    if outside > 0:
        if reasoning == outside:
            completion += outside
        elif "prompt_audio_seconds" in wire and heard == outside:
            prompt += outside
        elif "hidden_thoughts" in quirks:
            completion += outside
            reasoning = reasoning or outside
    cached = min(_cached(wire, given), prompt)
    long_written = _count(_object(wire, "cache_creation"), "ephemeral_1h_input_tokens")
    written = min(max(_written(wire, given), long_written), prompt - cached)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(long_written, written),
        reasoning_tokens=min(reasoning, completion),
        audio_input_tokens=min(heard, prompt),
        audio_output_tokens=min(spoken, completion),
        reported_cost_nusd=_cost_nusd(wire),
        service_tier=service_tier,
        web_search_requests=_searches(wire),
    )


def _is_plain(wire: Json) -> bool:
    """Whether there is nothing in it but two counts and their sum, as in most answers."""
    prompt, completion = wire.get("prompt_tokens"), wire.get("completion_tokens")
    total = wire.get("total_tokens")
    if not prompt.__class__ is completion.__class__ is total.__class__ is int:
        return False
    if prompt < 0 or completion < 0 or prompt + completion != total:
        return False
    beside = wire.keys() - _TOTALS if len(wire) > len(_TOTALS) else ()
    for value in map(wire.__getitem__, beside):
        if any(value.values()) if value.__class__ is dict else value:
            return False
    return True


def spelled(usage: Usage, cost: Cost | None = None) -> dict[str, Any]:
    """Return the `usage` object of an answer of ours, with what it cost if that was asked for."""
    wire: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }
    return wire if cost is None else wire | {"trunkline": spelled_cost(cost)}


def spelled_cost(cost: Cost) -> dict[str, Any]:
    """Return our extension of a `usage` object: what the answer cost, in nano-USD."""
    return {"cost_nusd": cost.nusd, "cost_state": cost.state}


def _cached(wire: Json, given: Json) -> int:
    """Read the first spelling that says more than 0: OpenAI, DeepSeek, Mistral, Together, Venice.

    Source: https://api-docs.deepseek.com/guides/kv_cache 2026-11-20
    """
    return (
        _count(given, "cached_tokens")
        or _count(wire, "prompt_cache_hit_tokens")
        or _count(wire, "num_cached_tokens")
        or _count(wire, "cached_tokens")
        or _count(wire, "cache_read_input_tokens")
    )


def _written(wire: Json, given: Json) -> int:
    return (
        _count(given, "cache_write_tokens")
        or _count(given, "cache_creation_tokens")
        or _count(wire, "cache_creation_input_tokens")
    )


def _searches(wire: Json) -> int:
    """Count OpenRouter's searches. Perplexity says what it charged for its own.

    Source: https://openrouter.ai/docs/guides/features/server-tools 2026-11-20
    """
    return _count(_object(wire, "server_tool_use"), "web_search_requests") or _count(
        _object(wire, "server_tool_use_details"), "web_search_requests"
    )


def _cost_nusd(wire: Json) -> int | None:
    """Return what the provider says this cost, in nano-USD.

    xAI counts ticks of 1e-10 USD, Perplexity gives an object, OpenRouter a number, which leaves out
    what the caller's own key paid upstream (`is_byok`).
    Source: https://openrouter.ai/docs/use-cases/usage-accounting 2026-11-20
    Source: https://docs.x.ai/docs/api-reference 2026-11-20
    """
    cost = wire.get("cost")
    try:
        if (ticks := wire.get("cost_in_usd_ticks")) is not None:
            return _nano(Decimal(str(ticks)) / 10**10)
        if isinstance(cost, Mapping):
            cost = cost.get("total_cost")
        if cost is None or isinstance(cost, bool):
            return None
        usd = Decimal(str(cost))
        if wire.get("is_byok"):
            details = _object(wire, "cost_details")
            usd += Decimal(str(details.get("upstream_inference_cost") or 0))
        return _nano(usd)
    except InvalidOperation:
        return None


def _nano(usd: Decimal) -> int | None:
    if not usd.is_finite() or usd < 0:
        return None
    return int((usd * 10**9).to_integral_value(rounding=ROUND_HALF_EVEN))


def _count(wire: Json, name: str) -> int:
    value = wire.get(name)
    if value.__class__ is int:
        return value if value > 0 else 0
    return int(value) if isinstance(value, float) and value > 0 else 0


def _object(wire: Json, name: str) -> Json:
    value = wire.get(name)
    return value if isinstance(value, dict) else _NONE
