"""`usage_of`: each provider's arithmetic, brought to one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.dialects.openai_chat.usage import spelled, usage_of
from trunkline.types import Cost, Usage

NO_QUIRKS: frozenset[str] = frozenset()


def wire(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """Make a usage object that adds up."""
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total} | more


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            wire(
                20,
                10,
                prompt_tokens_details={"cached_tokens": 8, "audio_tokens": 2},
                completion_tokens_details={"reasoning_tokens": 4, "audio_tokens": 1},
            ),
            Usage(
                prompt_tokens=20,
                completion_tokens=10,
                cache_read_tokens=8,
                reasoning_tokens=4,
                audio_input_tokens=2,
                audio_output_tokens=1,
            ),
        ),
        (
            wire(20, 10, prompt_tokens_details={"cache_write_tokens": 5, "cached_tokens": 3}),
            Usage(
                prompt_tokens=20, completion_tokens=10, cache_write_tokens=5, cache_read_tokens=3
            ),
        ),
        # xAI: reasoning outside completion, seen in the total
        (
            wire(12, 2, completion_tokens_details={"reasoning_tokens": 320}, total_tokens=334),
            Usage(prompt_tokens=12, completion_tokens=322, reasoning_tokens=320),
        ),
        # OpenAI: the same numbers with a total that says they are inside
        (
            wire(12, 322, completion_tokens_details={"reasoning_tokens": 320}),
            Usage(prompt_tokens=12, completion_tokens=322, reasoning_tokens=320),
        ),
        # Mistral: audio outside prompt
        (
            wire(
                11,
                15,
                prompt_audio_seconds=5,
                prompt_tokens_details={"audio_tokens": 375, "cached_tokens": 9},
                total_tokens=401,
            ),
            Usage(
                prompt_tokens=386, completion_tokens=15, cache_read_tokens=9, audio_input_tokens=375
            ),
        ),
        # grok on Azure: more cached than prompt
        (
            wire(23, 5, prompt_tokens_details={"cached_tokens": 190}),
            Usage(prompt_tokens=23, completion_tokens=5, cache_read_tokens=23),
        ),
        # doubleword: more reasoning than completion, and a total without it
        (
            wire(16, 9, completion_tokens_details={"reasoning_tokens": 12}),
            Usage(prompt_tokens=16, completion_tokens=9, reasoning_tokens=9),
        ),
        # DeepSeek, Mistral, Together, Moonshot, Venice
        (
            wire(9, 1, prompt_cache_hit_tokens=4, prompt_cache_miss_tokens=5),
            Usage(prompt_tokens=9, completion_tokens=1, cache_read_tokens=4),
        ),
        (
            wire(9, 1, num_cached_tokens=4),
            Usage(prompt_tokens=9, completion_tokens=1, cache_read_tokens=4),
        ),
        (
            wire(9, 1, cached_tokens=4),
            Usage(prompt_tokens=9, completion_tokens=1, cache_read_tokens=4),
        ),
        (
            wire(9, 1, cache_read_input_tokens=4, prompt_tokens_details={"cached_tokens": 4}),
            Usage(prompt_tokens=9, completion_tokens=1, cache_read_tokens=4),
        ),
        (
            wire(
                9,
                1,
                cache_creation_input_tokens=6,
                cache_creation={"ephemeral_1h_input_tokens": 4, "ephemeral_5m_input_tokens": 2},
            ),
            Usage(
                prompt_tokens=9, completion_tokens=1, cache_write_tokens=6, cache_write_1h_tokens=4
            ),
        ),
        # Copilot: reasoning at the top
        (
            wire(9, 5, reasoning_tokens=3),
            Usage(prompt_tokens=9, completion_tokens=5, reasoning_tokens=3),
        ),
        # nulls, negatives, words and floats
        (
            {"prompt_tokens": 193, "completion_tokens": None, "total_tokens": None},
            Usage(prompt_tokens=193),
        ),
        (
            {"prompt_tokens": "9", "completion_tokens": -3, "prompt_tokens_details": [1]},
            Usage(),
        ),
        ({"prompt_tokens": 9.0, "completion_tokens": True}, Usage(prompt_tokens=9)),
        ({}, Usage()),
    ],
)
def test_each_familys_arithmetic(said: dict[str, Any], expected: Usage) -> None:
    """Prompt and completion are all that went in and came out; the rest lies inside them."""
    assert usage_of(said, NO_QUIRKS) == expected


def test_hidden_thoughts_are_what_the_total_says_more() -> None:
    """Gemini's compatible endpoint counts thoughts only in the total; a quirk must say so."""
    said = wire(10, 5, total_tokens=40)
    assert usage_of(said, NO_QUIRKS) == Usage(prompt_tokens=10, completion_tokens=5)
    assert usage_of(said, frozenset({"hidden_thoughts"})) == Usage(
        prompt_tokens=10, completion_tokens=30, reasoning_tokens=25
    )


@pytest.mark.parametrize(
    ("said", "nusd"),
    [
        ({"cost": 0.00014025}, 140_250),
        ({"cost": 0}, 0),
        ({"cost": 1e-10}, 0),
        ({"cost": 1.5e-9}, 2),
        ({"cost": 2.5e-9}, 2),
        ({"cost": "0.5"}, 500_000_000),
        ({"cost": 0.1 + 0.2}, 300_000_000),
        ({"cost": {"total_cost": 0.00504, "request_cost": 0.005}}, 5_040_000),
        ({"cost": {"input_tokens_cost": 1}}, None),
        ({"cost": None}, None),
        ({"cost": "dear"}, None),
        ({"cost": True}, None),
        ({"cost_in_usd_ticks": 1_641_500}, 164_150),
        ({"cost_in_usd_ticks": 5}, 0),
        ({"cost_in_usd_ticks": 15}, 2),
        (
            {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.00417}},
            4_170_000,
        ),
        (
            {"cost": 0.001, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}},
            1_000_000,
        ),
        ({"cost": 0.001, "is_byok": True, "cost_details": None}, 1_000_000),
        ({}, None),
    ],
)
def test_a_reported_cost_is_read_exactly(said: dict[str, Any], nusd: int | None) -> None:
    """A cost on the wire becomes nano-USD by decimal arithmetic, half to even."""
    assert usage_of(said, NO_QUIRKS).reported_cost_nusd == nusd


@pytest.mark.parametrize(
    ("said", "searches"),
    [
        ({"server_tool_use": {"web_search_requests": 2}}, 2),
        ({"server_tool_use_details": {"web_search_requests": 3}}, 3),
        ({"num_sources_used": 4, "server_tool_use": None}, 0),
        ({"num_search_queries": 5, "server_tool_use": {"web_search_requests": True}}, 0),
    ],
)
def test_searches_are_counted(said: dict[str, Any], searches: int) -> None:
    """OpenRouter's, in either spelling; Perplexity and xAI say what they charged for theirs."""
    assert usage_of(wire(3, 4, **said), NO_QUIRKS).web_search_requests == searches


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ("flex", "flex"),
        ("Priority", "priority"),
        ("default", ""),
        ("auto", ""),
        ("on_demand", ""),
        (None, ""),
        (5, ""),
        ("a tier\x00", "other"),
        ("x" * 33, "other"),
    ],
)
def test_the_served_tier_is_a_plain_word(said: Any, tier: str) -> None:
    """Nothing for the standard one, `other` for what can be no word; in the usage or beside it."""
    for more in ({}, {"num_cached_tokens": 1}):
        assert usage_of(wire(3, 4, **more), NO_QUIRKS, said).service_tier == tier
        assert usage_of(wire(3, 4, **more, service_tier=said), NO_QUIRKS).service_tier == tier


_COUNTS = st.one_of(st.none(), st.integers(-5, 10_000))
_WIRE = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": _COUNTS,
        "completion_tokens": _COUNTS,
        "total_tokens": _COUNTS,
        "cached_tokens": _COUNTS,
        "num_cached_tokens": _COUNTS,
        "reasoning_tokens": _COUNTS,
        "prompt_audio_seconds": _COUNTS,
        "cache_creation_input_tokens": _COUNTS,
        "cache_creation": st.dictionaries(st.just("ephemeral_1h_input_tokens"), _COUNTS),
        "prompt_tokens_details": st.none()
        | st.dictionaries(
            st.sampled_from(["cached_tokens", "audio_tokens", "cache_write_tokens"]), _COUNTS
        ),
        "completion_tokens_details": st.none()
        | st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens"]), _COUNTS),
    },
)


@given(_WIRE, st.sampled_from([NO_QUIRKS, frozenset({"hidden_thoughts"})]))
def test_the_inclusions_hold_whatever_is_said(said: dict[str, Any], quirks: frozenset[str]) -> None:
    """No report, however odd, breaks what `Usage` promises."""
    usage = usage_of(said, quirks)
    assert 0 <= usage.cache_read_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert 0 <= usage.audio_input_tokens <= usage.prompt_tokens
    assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
    assert 0 <= usage.audio_output_tokens <= usage.completion_tokens


@given(_WIRE)
def test_spelled_usage_reads_as_the_same(said: dict[str, Any]) -> None:
    """What we tell a caller means what we were told, but for the split of cache writes."""
    usage = usage_of({k: v for k, v in said.items() if k != "cache_creation"}, NO_QUIRKS)
    assert usage_of(spelled(usage, Cost(5)), NO_QUIRKS) == usage
