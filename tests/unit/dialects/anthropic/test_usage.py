"""Token arithmetic: what Anthropic counts apart is counted together here, and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.dialects.anthropic.usage import apart, merged, spelled, usage_of
from trunkline.types import Usage


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({}, Usage()),
        ({"input_tokens": None, "output_tokens": True, "cache_creation": 5}, Usage()),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(prompt_tokens=3, completion_tokens=2)),
        (
            {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7},
            Usage(prompt_tokens=110, cache_read_tokens=100, cache_write_tokens=7),
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
            },
            Usage(prompt_tokens=11, cache_write_tokens=10, cache_write_1h_tokens=6),
        ),
        (
            {"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}},
            Usage(completion_tokens=5, reasoning_tokens=5),
        ),
        ({"input_tokens": 1, "cost": 0.25}, Usage(prompt_tokens=1, reported_cost_nusd=250_000_000)),
        ({"cost": float("inf")}, Usage()),
        ({"cost": -1}, Usage()),
        ({"iterations": [{"type": "message", "input_tokens": 5}, None, 3]}, Usage()),
        ({"service_tier": "standard", "speed": "standard"}, Usage()),
        ({"service_tier": "priority"}, Usage(service_tier="priority")),
        ({"service_tier": "batch", "server_tool_use": None}, Usage(service_tier="batch")),
        ({"service_tier": "standard", "speed": "fast"}, Usage(service_tier="fast")),
        ({"service_tier": "priority", "speed": "fast"}, Usage(service_tier="priority-fast")),
        (
            {"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9}},
            Usage(web_search_requests=3),
        ),
        ({"server_tool_use": {"web_search_requests": -1}, "service_tier": 7}, Usage()),
    ],
)
def test_usage_is_normalised(wire: dict[str, Any], usage: Usage) -> None:
    """Cache reads and writes are parts of the prompt, thinking is a part of the output."""
    assert usage_of(wire) == usage


def test_advice_of_another_model_is_charged_apart() -> None:
    """At that model's prices, which are not known here."""
    asked = {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 823}
    assert apart({"iterations": [{"type": "message"}, asked]})
    assert not apart({"iterations": [{"type": "message"}, {"type": "compaction"}, None]})
    assert not apart({})


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts, counts, st.sampled_from(["", "priority", "batch"]))
def test_usage_can_be_spelled_and_read_again(
    plain: int, read: int, short: int, long: int, made: int, tier: str
) -> None:
    """Nothing is counted twice, nothing is lost."""
    usage = Usage(
        prompt_tokens=plain + read + short + long,
        completion_tokens=made,
        cache_read_tokens=read,
        cache_write_tokens=short + long,
        cache_write_1h_tokens=long,
        reasoning_tokens=made // 2,
        service_tier=tier,
        web_search_requests=read % 5,
    )
    assert spelled(usage)["input_tokens"] == plain
    assert usage_of(spelled(usage)) == usage


def test_later_numbers_overwrite_and_nulls_do_not() -> None:
    """Usage in a stream is cumulative, field by field."""
    assert merged({"a": 1, "b": 2}, {"a": 5, "b": None}) == {"a": 5, "b": 2}
