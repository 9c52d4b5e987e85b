"""Token arithmetic: the `usage` object of a response -> `Usage`, and back.

The names differ from those of chat completions, the rules do not: cached and written tokens are
inside input, reasoning is inside output, at xAI too. Searches stand beside: OpenAI counts them in
`tool_usage`, xAI in `usage`; where neither is there each `web_search_call` that searched is one.
Source: https://platform.openai.com/docs/api-reference/responses/object 2026-11-20
Source: https://docs.x.ai/docs/guides/tools/overview 2026-11-20
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from msgspec.structs import replace

from trunkline.dialects.openai_chat import usage as chat
from trunkline.types import Usage

Json = dict[str, Any]
_NAMES = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}
_APART = frozenset(
    {"code_interpreter_call", "file_search_call", "image_generation_call", "x_search_call"}
)
_FREE = frozenset({"web_search_calls", "mcp_calls"})
"""Counts of xAI's that stand in `Usage`, or cost nothing."""


def usage_of(response: Json, quirks: frozenset[str]) -> Usage | None:
    """Return the usage of a response; None = it does not say."""
    wire = response.get("usage")
    if not isinstance(wire, dict) or not wire:
        return None
    named: Json = {str(_NAMES.get(name, name)): value for name, value in wire.items()}
    usage = chat.usage_of(named, quirks, response.get("service_tier"))
    return replace(usage, web_search_requests=_searches(response, wire))


def apart(response: Json, kinds: Set[Any], usage: Usage) -> bool:
    """Whether a tool of the provider's has run whose fee is not in `usage`.

    `kinds` are those of the items. Searches in files cost by the call, containers by time, pictures
    by tokens of another model. xAI counts its tools by name, and says what the whole answer cost.
    Source: https://platform.openai.com/docs/pricing 2026-11-21
    Source: https://docs.x.ai/developers/pricing 2026-11-21
    """
    if usage.reported_cost_nusd is not None:
        return False
    counted = _inner(_inner(response, "usage"), "server_side_tool_usage_details")
    return not _APART.isdisjoint(kinds) or any(counted[name] for name in counted.keys() - _FREE)


def _searches(response: Json, wire: Json) -> int:
    for counted, name in (
        (_inner(_inner(response, "tool_usage"), "web_search"), "num_requests"),
        (_inner(wire, "server_side_tool_usage_details"), "web_search_calls"),
    ):
        if isinstance(number := counted.get(name), int):
            return max(number, 0)
    return sum(
        item.get("type") == "web_search_call"
        and _inner(item, "action").get("type", "search") == "search"
        for item in response.get("output") or ()
    )


def _inner(wire: Json, name: str) -> Json:
    value = wire.get(name)
    return value if isinstance(value, dict) else {}


def spelled(usage: Usage) -> Json:
    """Return the `usage` object of an answer of ours; SDKs insist on every field."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
