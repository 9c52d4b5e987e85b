"""Token arithmetic: Bedrock's `usage` -> `Usage`.

`inputTokens` leaves out what was read from the cache and what was written to it. Thoughts are
among `outputTokens`, uncounted. The same cache numbers come under two names; one is read.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html 2026-11-20
"""

from __future__ import annotations

from typing import Any

from trunkline.types import Usage
from trunkline.types.answer import served_tier

Json = dict[str, Any]


def usage_of(answer: Json) -> Usage:
    """Normalise what an answer, or the last message of a stream, says was used.

    The optimised latency has prices of its own, so it counts as a service tier.
    """
    wire = _object(answer, "usage")
    read = _count(wire, "cacheReadInputTokens") or _count(wire, "cacheReadInputTokenCount")
    written = _count(wire, "cacheWriteInputTokens") or _count(wire, "cacheWriteInputTokenCount")
    details = wire.get("cacheDetails")
    long_written = sum(
        _count(one, "inputTokens")
        for one in (details if isinstance(details, list) else ())
        if isinstance(one, dict) and one.get("ttl") == "1h"
    )
    tiers = (
        served_tier(_object(answer, "serviceTier").get("type")),
        served_tier(_object(answer, "performanceConfig").get("latency")),
    )
    return Usage(
        prompt_tokens=_count(wire, "inputTokens") + read + written,
        completion_tokens=_count(wire, "outputTokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(long_written, written),
        service_tier="-".join(filter(None, tiers)),
    )


def _count(wire: Json, name: str) -> int:
    value = wire.get(name)
    return value if value.__class__ is int and value > 0 else 0


def _object(wire: Json, name: str) -> Json:
    value = wire.get(name)
    return value if isinstance(value, dict) else {}
