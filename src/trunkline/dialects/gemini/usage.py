"""Token arithmetic: Gemini's `usageMetadata` -> `Usage`.

Thoughts stand outside the candidates, and what tools gave to read stands outside the prompt; what
was read from a cache is a part of the prompt. A stream repeats the whole usage on every event.
Source: https://ai.google.dev/api/generate-content#UsageMetadata 2026-11-20
"""

from __future__ import annotations

from typing import Any

from trunkline.types import Usage
from trunkline.types.answer import served_tier

Json = dict[str, Any]
_AUDIO = ("AUDIO", 4)
"""The name of the modality, and its number where enums are written as numbers."""
_TRAFFIC = {
    2: "provisioned_throughput",
    "ON_DEMAND": "",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
    "TRAFFIC_TYPE_UNSPECIFIED": "",
}


def usage_of(wire: Json, searches: int = 0) -> Usage:
    """Normalise a `usageMetadata`; missing, null and malformed numbers count as not said."""
    thoughts = _count(wire, "thoughtsTokenCount")
    prompt = _count(wire, "promptTokenCount") + _count(wire, "toolUsePromptTokenCount")
    heard = _audio(wire, "promptTokensDetails") + _audio(wire, "toolUsePromptTokensDetails")
    written = _count(wire, "candidatesTokenCount")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=written + thoughts,
        cache_read_tokens=min(_count(wire, "cachedContentTokenCount"), prompt),
        reasoning_tokens=thoughts,
        audio_input_tokens=min(heard, prompt),
        audio_output_tokens=min(_audio(wire, "candidatesTokensDetails"), written),
        service_tier=_tier(wire),
        web_search_requests=searches,
    )


def _tier(wire: Json) -> str:
    """Return the tier; Vertex has words of its own for it.

    Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/GenerateContentResponse
    2026-11-20
    """
    traffic = wire.get("trafficType")
    if isinstance(traffic, str | int):
        return served_tier(_TRAFFIC.get(traffic, traffic))
    return served_tier(wire.get("serviceTier"))


def _audio(wire: Json, name: str) -> int:
    details = wire.get(name)
    return sum(
        _count(one, "tokenCount")
        for one in (details if isinstance(details, list) else ())
        if isinstance(one, dict) and one.get("modality") in _AUDIO
    )


def _count(wire: Json, name: str) -> int:
    value = wire.get(name)
    return value if value.__class__ is int and value > 0 else 0
