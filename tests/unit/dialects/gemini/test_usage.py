"""Tokens: thoughts and what tools gave to read stand outside, what was cached inside."""

import json
from typing import Any

import pytest

from tests.unit.dialects.gemini.wire import response
from trunkline.dialects.gemini import decode
from trunkline.dialects.gemini.usage import usage_of
from trunkline.types import Memo, Usage, UsageReport


def test_everything_is_counted_once() -> None:
    """Prompt and what tools gave to read are input, candidates and thoughts are output."""
    wire = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 20,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 157,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 90},
            {"modality": "AUDIO", "tokenCount": 10},
        ],
        "candidatesTokensDetails": [{"modality": 4, "tokenCount": 5}],
        "serviceTier": "flex",
    }
    assert usage_of(wire) == Usage(
        prompt_tokens=120,
        completion_tokens=37,
        cache_read_tokens=60,
        reasoning_tokens=30,
        audio_input_tokens=10,
        audio_output_tokens=5,
        service_tier="flex",
    )


@pytest.mark.parametrize("value", [None, -1, "7", 1.5, True])
def test_what_is_no_count_counts_nothing(value: object) -> None:
    """Missing candidates are common: all was thought."""
    wire = {"promptTokenCount": 3, "candidatesTokenCount": value, "promptTokensDetails": value}
    assert usage_of(wire) == Usage(prompt_tokens=3)


@pytest.mark.parametrize(
    ("wire", "tier"),
    [
        ({"serviceTier": "standard"}, ""),
        ({"serviceTier": "priority"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, ""),
        ({"trafficType": 1}, ""),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
    ],
)
def test_the_tier_that_was_served(wire: dict[str, Any], tier: str) -> None:
    """In the words of the price data; capacity that was paid for beforehand has no known price."""
    assert usage_of(wire).service_tier == tier


@pytest.mark.parametrize(("model", "searches"), [("gemini-2.5-flash", 1), ("gemini-3.5-flash", 2)])
def test_searches_are_counted_as_they_are_charged(model: str, searches: int) -> None:
    """Each query from Gemini 3 on, before that one for each prompt."""
    body = response({"text": "x"}, finish="STOP", usageMetadata={"promptTokenCount": 1})
    body["modelVersion"] = model
    body["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b", "a"]}
    reports = decode(json.dumps(body).encode(), Memo()).events
    [usage] = [one.usage for one in reports if isinstance(one, UsageReport)]
    assert usage.web_search_requests == searches


@pytest.mark.parametrize(
    ("chunk", "quirks", "apart"),
    [
        ("web", (), False),
        ("maps", (), True),
        ("retrievedContext", (), False),
        ("retrievedContext", ("vertex",), True),
    ],
)
def test_what_is_charged_beside_tokens_and_searches_is_told(
    chunk: str, quirks: tuple[str, ...], apart: bool
) -> None:
    """Maps, and on Vertex the caller's own data; what it costs nobody says."""
    body = response({"text": "x"}, finish="STOP", usageMetadata={"promptTokenCount": 1})
    body["candidates"][0]["groundingMetadata"] = {"groundingChunks": [{chunk: {"uri": "u"}}]}
    events = decode(json.dumps(body).encode(), Memo(frozenset(quirks))).events
    assert [one.apart for one in events if isinstance(one, UsageReport)] == [apart]
