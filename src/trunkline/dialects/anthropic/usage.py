"""Token arithmetic: Anthropic's `usage` object -> `Usage`, and back.

`input_tokens` leaves out what was read from the cache and what was written to it; `output_tokens`
includes thinking. The tokens of a compaction stand only in its entry of `iterations`. The fast
mode (`speed`) has prices of its own, so it counts as a service tier. Searches are charged apart.
Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/compaction 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/fast-mode 2026-11-20
Source: https://platform.claude.com/docs/en/api/service-tiers 2026-11-20
Source: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from trunkline.types import Usage
from trunkline.types.answer import served_tier

Json = Mapping[str, Any]
_NONE: Json = {}
_OWN_TIERS = frozenset({"priority", "batch"})
"""What a client of this API may read; other providers have other words."""


def merged(before: Json, later: Json) -> dict[str, Any]:
    """Overwrite field by field: usage in a stream is cumulative, and null says nothing."""
    return {**before, **{name: value for name, value in later.items() if value is not None}}


def usage_of(wire: Json) -> Usage:
    """Normalise a `usage` object; missing, null and malformed numbers count as not said."""
    iterations = wire.get("iterations")
    apart = iterations if isinstance(iterations, list) else []
    bills = [
        wire,
        *(one for one in apart if isinstance(one, dict) and one.get("type") == "compaction"),
    ]
    read = sum(_count(bill, "cache_read_input_tokens") for bill in bills)
    long_written = sum(_written(bill, "ephemeral_1h_input_tokens") for bill in bills)
    written = sum(
        max(
            _count(bill, "cache_creation_input_tokens"),
            _written(bill, "ephemeral_5m_input_tokens")
            + _written(bill, "ephemeral_1h_input_tokens"),
        )
        for bill in bills
    )
    made = sum(_count(bill, "output_tokens") for bill in bills)
    tiers = served_tier(wire.get("service_tier")), served_tier(wire.get("speed"))
    thought = _count(_object(wire, "output_tokens_details"), "thinking_tokens")
    return Usage(
        prompt_tokens=sum(_count(bill, "input_tokens") for bill in bills) + read + written,
        completion_tokens=made,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=long_written,
        reasoning_tokens=min(thought, made),
        reported_cost_nusd=_cost_nusd(wire.get("cost")),
        service_tier="-".join(filter(None, tiers)),
        web_search_requests=_count(_object(wire, "server_tool_use"), "web_search_requests"),
    )


def apart(wire: Json) -> bool:
    """Whether another model was asked for advice, whose tokens stand in `iterations` alone.

    They have the prices of that model.
    Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool 2026-11-21
    """
    iterations = wire.get("iterations")
    return any(
        isinstance(one, dict) and one.get("type") == "advisor_message"
        for one in (iterations if isinstance(iterations, list) else ())
    )


def spelled(usage: Usage) -> dict[str, Any]:
    """Return the `usage` object of an answer of ours."""
    short_written = usage.cache_write_tokens - usage.cache_write_1h_tokens
    wire: dict[str, Any] = {
        "input_tokens": (usage.prompt_tokens - usage.cache_read_tokens - usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": short_written,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
    if usage.web_search_requests:
        # Clients insist on both; fetches cost nothing and are not counted.
        searches = {"web_search_requests": usage.web_search_requests, "web_fetch_requests": 0}
        wire["server_tool_use"] = searches
    if usage.service_tier in _OWN_TIERS:
        wire["service_tier"] = usage.service_tier
    return wire


def _written(wire: Json, name: str) -> int:
    return _count(_object(wire, "cache_creation"), name)


def _cost_nusd(cost: Any) -> int | None:
    """Return what a gateway in between says this cost, in nano-USD.

    Source: https://openrouter.ai/docs/use-cases/usage-accounting 2026-11-20
    """
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    nano = Decimal(str(cost)) * 10**9
    if not nano.is_finite() or nano < 0:
        return None
    return int(nano.to_integral_value(rounding=ROUND_HALF_EVEN))


def _count(wire: Json, name: str) -> int:
    value = wire.get(name)
    return value if value.__class__ is int and value > 0 else 0


def _object(wire: Json, name: str) -> Json:
    value = wire.get(name)
    return value if isinstance(value, dict) else _NONE
