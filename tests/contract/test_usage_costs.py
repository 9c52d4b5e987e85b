"""From an answer to nano-dollars, for each way in which providers count and charge.

The numbers are written by hand from the providers' documentation; a price of 1 USD per million
tokens is 1,000 nano-dollars per token, which makes the sums easy to follow.
"""

from typing import Any, NamedTuple

import pytest
from msgspec.json import encode
from msgspec.structs import replace

from trunkline.accounting.price import cost
from trunkline.catalog import rows
from trunkline.config.provider import FREE
from trunkline.dialects import load
from trunkline.testing import (
    chat_answer,
    chat_usage,
    content_answer,
    converse_answer,
    message_answer,
    ollama_answer,
    response_answer,
)
from trunkline.types import Memo, Price, Usage, UsageReport

SEARCH = 10_000_000
"""Nano-dollars for one search, at 10 USD per thousand."""


def usd(number: float) -> int:
    """Return USD per million tokens as a `Price` has it."""
    return round(number * 10**9)


def price(input_usd: float, output_usd: float, **more: float) -> Price:
    """Return a price, each in USD per million tokens, or searches."""
    rates: dict[str, Any] = {f"{name}_nusd": usd(value) for name, value in more.items()}
    return Price(input_nusd=usd(input_usd), output_nusd=usd(output_usd), **rates)


def chat(prompt: int, completion: int, **usage: Any) -> dict[str, Any]:
    """Return a chat completion with a usage; `tier` stands beside it."""
    beside = {"service_tier": usage.pop("tier")} if "tier" in usage else {}
    return chat_answer(usage=chat_usage(prompt, completion, **usage)) | beside


class Case(NamedTuple):
    """An answer of a provider, what we read from it, and what it costs."""

    provider: str
    answer: dict[str, Any]
    price: Price
    usage: Usage
    nusd: int
    dialect: str = ""
    """Where it is not the provider's usual one."""


def used(prompt: int, completion: int, **more: Any) -> Usage:
    """Return a usage."""
    return Usage(prompt_tokens=prompt, completion_tokens=completion, **more)


FLEX = replace(price(2.5, 10), service_tiers=(("flex", price(1.25, 5)),))
LONG = replace(price(3, 15), tiers=((200_000, price(6, 22.5)),))
SEARCHED = price(1.25, 10, cache_read=0.125, cache_write=1.5625, web_search=10_000)
CLAUDE = price(3, 15, cache_read=0.3, cache_write=3.75, cache_write_1h=6, web_search=10_000)

VECTOR = {"index": 0, "embedding": [0.5]}

CASES = {
    "openai: cached is inside prompt, reasoning inside completion": Case(
        "openai",
        chat(
            1300,
            50,
            prompt_tokens_details={"cached_tokens": 1000},
            completion_tokens_details={"reasoning_tokens": 40},
        ),
        price(2.5, 10, cache_read=1.25),
        used(1300, 50, cache_read_tokens=1000, reasoning_tokens=40),
        300 * 2_500 + 1000 * 1_250 + 50 * 10_000,
    ),
    "openai: audio is inside its side, at prices of its own": Case(
        "openai",
        chat(
            110,
            30,
            prompt_tokens_details={"audio_tokens": 100},
            completion_tokens_details={"audio_tokens": 20},
        ),
        price(2.5, 10, audio_input=40, audio_output=80),
        used(110, 30, audio_input_tokens=100, audio_output_tokens=20),
        10 * 2_500 + 100 * 40_000 + 10 * 10_000 + 20 * 80_000,
    ),
    "openai: the tier that was served counts": Case(
        "openai", chat(10, 5, tier="flex"), FLEX, used(10, 5, service_tier="flex"), 37_500
    ),
    "openai: a tier without a price costs what the standard one does": Case(
        "openai", chat(10, 5, tier="priority"), FLEX, used(10, 5, service_tier="priority"), 75_000
    ),
    "openai responses: writes and searches": Case(
        "openai",
        response_answer(
            usage={
                "input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 300},
                "output_tokens": 200,
                "output_tokens_details": {"reasoning_tokens": 150},
                "total_tokens": 1200,
            },
            tool_usage={"web_search": {"num_requests": 2}},
        ),
        SEARCHED,
        used(
            1000,
            200,
            cache_read_tokens=600,
            cache_write_tokens=300,
            reasoning_tokens=150,
            web_search_requests=2,
        ),
        100 * 1_250 + 600 * 125 + 468_750 + 200 * 10_000 + 2 * SEARCH,
        "openai_responses",
    ),
    "azure: grok reports more cached than prompt": Case(
        "azure_openai",
        chat(20, 5, prompt_tokens_details={"cached_tokens": 50}),
        price(3, 15, cache_read=0.75),
        used(20, 5, cache_read_tokens=20),
        20 * 750 + 5 * 15_000,
    ),
    "anthropic: input leaves out what is cached, two lifetimes, searches": Case(
        "anthropic",
        message_answer(
            usage={
                "input_tokens": 10,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 300,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 200,
                    "ephemeral_1h_input_tokens": 100,
                },
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 30},
                "server_tool_use": {"web_search_requests": 2},
            }
        ),
        CLAUDE,
        used(
            1310,
            50,
            cache_read_tokens=1000,
            cache_write_tokens=300,
            cache_write_1h_tokens=100,
            reasoning_tokens=30,
            web_search_requests=2,
        ),
        10 * 3_000 + 1000 * 300 + 200 * 3_750 + 100 * 6_000 + 50 * 15_000 + 2 * SEARCH,
    ),
    "anthropic: a long prompt makes the whole call dearer": Case(
        "anthropic",
        message_answer(usage={"input_tokens": 200_001, "output_tokens": 1}),
        LONG,
        used(200_001, 1),
        200_001 * 6_000 + 22_500,
    ),
    "anthropic: the fast mode is a tier": Case(
        "anthropic",
        message_answer(usage={"input_tokens": 10, "output_tokens": 5, "speed": "fast"}),
        replace(price(5, 25), service_tiers=(("fast", price(30, 150)),)),
        used(10, 5, service_tier="fast"),
        10 * 30_000 + 5 * 150_000,
    ),
    "anthropic: a compaction is charged beside the answer": Case(
        "anthropic",
        message_answer(
            usage={
                "input_tokens": 10,
                "output_tokens": 5,
                "iterations": [
                    {"type": "compaction", "input_tokens": 1000, "output_tokens": 100},
                    {"type": "message", "input_tokens": 10, "output_tokens": 5},
                ],
            }
        ),
        CLAUDE,
        used(1010, 105),
        1010 * 3_000 + 105 * 15_000,
    ),
    "gemini: speech": Case(
        "gemini",
        content_answer(
            usageMetadata={
                "promptTokenCount": 10,
                "candidatesTokenCount": 30,
                "candidatesTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 10},
                    {"modality": "AUDIO", "tokenCount": 20},
                ],
            }
        ),
        price(0.5, 2, audio_output=12),
        used(10, 30, audio_output_tokens=20),
        10 * 500 + 10 * 2_000 + 20 * 12_000,
    ),
    "gemini: each search of a model from 3 on": Case(
        "gemini",
        content_answer(
            modelVersion="gemini-3.5-flash",
            candidates=[
                {
                    "content": {"role": "model", "parts": [{"text": "Hello."}]},
                    "finishReason": "STOP",
                    "groundingMetadata": {"webSearchQueries": ["a", "b"]},
                }
            ],
            usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 5},
        ),
        price(1, 2, web_search=10_000),
        used(10, 5, web_search_requests=2),
        10 * 1_000 + 5 * 2_000 + 2 * SEARCH,
    ),
    "gemini: thoughts and tool prompts stand outside": Case(
        "gemini",
        content_answer(
            usageMetadata={
                "promptTokenCount": 1300,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}],
                "cachedContentTokenCount": 1000,
                "toolUsePromptTokenCount": 50,
                "candidatesTokenCount": 10,
                "thoughtsTokenCount": 90,
                "totalTokenCount": 1450,
            }
        ),
        price(0.3, 2.5, cache_read=0.03, audio_input=1),
        used(1350, 100, cache_read_tokens=1000, reasoning_tokens=90, audio_input_tokens=100),
        100 * 1_000 + 1000 * 30 + 250 * 300 + 100 * 2_500,
    ),
    "vertex: its own word for a tier": Case(
        "vertex",
        content_answer(
            usageMetadata={
                "promptTokenCount": 100,
                "candidatesTokenCount": 10,
                "totalTokenCount": 110,
                "trafficType": "ON_DEMAND_FLEX",
            }
        ),
        FLEX,
        used(100, 10, service_tier="flex"),
        100 * 1_250 + 10 * 5_000,
    ),
    "bedrock: input leaves out what is cached": Case(
        "bedrock",
        converse_answer(
            usage={
                "inputTokens": 10,
                "outputTokens": 50,
                "totalTokens": 1360,
                "cacheReadInputTokens": 1000,
                "cacheReadInputTokenCount": 1000,
                "cacheWriteInputTokens": 300,
            }
        ),
        CLAUDE,
        used(1310, 50, cache_read_tokens=1000, cache_write_tokens=300),
        10 * 3_000 + 1000 * 300 + 300 * 3_750 + 50 * 15_000,
    ),
    "bedrock: an hour in the cache, in a tier": Case(
        "bedrock",
        converse_answer(
            serviceTier={"type": "flex"},
            usage={
                "inputTokens": 10,
                "outputTokens": 5,
                "cacheWriteInputTokens": 300,
                "cacheDetails": [
                    {"ttl": "5m", "inputTokens": 200},
                    {"ttl": "1h", "inputTokens": 100},
                ],
            },
        ),
        replace(price(9, 9), service_tiers=(("flex", CLAUDE),)),
        used(310, 5, cache_write_tokens=300, cache_write_1h_tokens=100, service_tier="flex"),
        10 * 3_000 + 200 * 3_750 + 100 * 6_000 + 5 * 15_000,
    ),
    "xai responses: cached, thought, searched": Case(
        "xai",
        response_answer(
            usage={
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60},
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 40},
                "total_tokens": 150,
                "server_side_tool_usage_details": {"web_search_calls": 3},
            }
        ),
        price(0.2, 0.5, cache_read=0.05, web_search=5_000),
        used(100, 50, cache_read_tokens=60, reasoning_tokens=40, web_search_requests=3),
        40 * 200 + 60 * 50 + 50 * 500 + 3 * SEARCH // 2,
        "openai_responses",
    ),
    "xai: reasoning is not in completion": Case(
        "xai",
        chat(100, 10, total_tokens=150, completion_tokens_details={"reasoning_tokens": 40}),
        price(0.2, 0.5),
        used(100, 50, reasoning_tokens=40),
        100 * 200 + 50 * 500,
    ),
    "xai: what it says it charged, in tenths of a nano-dollar": Case(
        "xai",
        chat(100, 10, cost_in_usd_ticks=123_456),
        price(0.2, 0.5),
        used(100, 10, reported_cost_nusd=12_346),
        12_346,
    ),
    "deepseek: hits and misses": Case(
        "deepseek",
        chat(1000, 10, prompt_cache_hit_tokens=800, prompt_cache_miss_tokens=200),
        price(0.28, 0.42, cache_read=0.028),
        used(1000, 10, cache_read_tokens=800),
        200 * 280 + 800 * 28 + 10 * 420,
    ),
    "mistral: its own name for cached": Case(
        "mistral",
        chat(100, 10, num_cached_tokens=60),
        price(0.1, 0.3, cache_read=0.01),
        used(100, 10, cache_read_tokens=60),
        40 * 100 + 60 * 10 + 10 * 300,
    ),
    "mistral: audio stands outside the prompt": Case(
        "mistral",
        chat(
            5,
            10,
            total_tokens=115,
            prompt_audio_seconds=10,
            prompt_tokens_details={"audio_tokens": 100},
        ),
        price(0.1, 0.3),
        used(105, 10, audio_input_tokens=100),
        105 * 100 + 10 * 300,
    ),
    "groq: durations are no tokens": Case(
        "groq",
        chat(10, 5, prompt_time=0.1, completion_time=0.2, total_time=0.3),
        price(0.075, 0.3),
        used(10, 5),
        10 * 75 + 5 * 300,
    ),
    "openrouter: its own figure": Case(
        "openrouter",
        chat(10, 5, cost=0.00012345),
        price(1, 1),
        used(10, 5, reported_cost_nusd=123_450),
        123_450,
    ),
    "openrouter: with the caller's own key, its fee and what was paid upstream": Case(
        "openrouter",
        chat(
            10,
            5,
            cost=0.000005,
            is_byok=True,
            cost_details={"upstream_inference_cost": 0.0001},
        ),
        price(1, 1),
        used(10, 5, reported_cost_nusd=105_000),
        105_000,
    ),
    "perplexity: an object of costs": Case(
        "perplexity",
        chat(
            10, 5, cost={"input_tokens_cost": 0.00001, "request_cost": 0.006, "total_cost": 0.00615}
        ),
        price(1, 1),
        used(10, 5, reported_cost_nusd=6_150_000),
        6_150_000,
    ),
    "together: cached at the top": Case(
        "together",
        chat(100, 5, cached_tokens=40),
        price(0.15, 0.6, cache_read=0.075),
        used(100, 5, cache_read_tokens=40),
        60 * 150 + 40 * 75 + 5 * 600,
    ),
    "openrouter: searches, where it tells no cost": Case(
        "openrouter",
        chat(
            100,
            5,
            prompt_tokens_details={"cached_tokens": 40, "cache_write_tokens": 20},
            server_tool_use={"web_search_requests": 2},
        ),
        SEARCHED,
        used(100, 5, cache_read_tokens=40, cache_write_tokens=20, web_search_requests=2),
        40 * 1_250 + 40 * 125 + 31_250 + 5 * 10_000 + 2 * SEARCH,
    ),
    "vercel: more reasoning than completion": Case(
        "vercel",
        chat(100, 10, completion_tokens_details={"reasoning_tokens": 30}),
        price(1, 5),
        used(100, 10, reasoning_tokens=10),
        100 * 1_000 + 10 * 5_000,
    ),
    "cohere: billed are fewer than read": Case(
        "cohere",
        {
            "id": "c1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
            "usage": {
                "billed_units": {"input_tokens": 10, "output_tokens": 5},
                "tokens": {"input_tokens": 500, "output_tokens": 5},
            },
        },
        price(2.5, 10),
        used(10, 5),
        10 * 2_500 + 5 * 10_000,
    ),
    "openai embeddings: what is read": Case(
        "openai",
        {"data": [VECTOR], "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        price(0.02, 0),
        used(8, 0),
        8 * 20,
        "openai_embeddings",
    ),
    "gemini embeddings: what is read": Case(
        "gemini",
        {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 8}},
        price(0.15, 0),
        used(8, 0),
        8 * 150,
        "gemini_embeddings",
    ),
    "cohere embeddings: what is billed": Case(
        "cohere",
        {"embeddings": {"float": [[0.5]]}, "meta": {"billed_units": {"input_tokens": 8}}},
        price(0.12, 0),
        used(8, 0),
        8 * 120,
        "cohere_embeddings",
    ),
    "ollama embeddings: cost nothing": Case(
        "ollama",
        {"model": "m", "embeddings": [[0.5]], "prompt_eval_count": 8},
        FREE,
        used(8, 0),
        0,
        "ollama_embeddings",
    ),
    "ollama: counts, and costs nothing": Case(
        "ollama",
        ollama_answer(prompt_eval_count=100, eval_count=10),
        FREE,
        used(100, 10),
        0,
    ),
}


CACHING = (
    "groq",
    "moonshot",
    "zai",
    "fireworks",
    "cerebras",
    "azure_openai",
    "sambanova",
    "nvidia",
)


@pytest.mark.parametrize("provider", CACHING)
def test_what_an_answer_from_the_cache_costs(provider: str) -> None:
    """Those who tell of it as OpenAI does charge as OpenAI does."""
    answer = chat(1000, 10, prompt_tokens_details={"cached_tokens": 800})
    frame = load("openai_chat").decode(encode(answer), Memo(rows()[provider].quirks))
    [usage] = [event.usage for event in frame.events if isinstance(event, UsageReport)]
    assert usage == used(1000, 10, cache_read_tokens=800)
    charged = price(0.5, 2, cache_read=0.05)
    assert cost(usage, charged).nusd == 200 * 500 + 800 * 50 + 10 * 2_000


@pytest.mark.parametrize("name", CASES)
def test_what_an_answer_costs(name: str) -> None:
    """The usage is read as the provider counts it, and costs exactly that."""
    case = CASES[name]
    row = rows()[case.provider]
    frame = load(case.dialect or row.dialect).decode(encode(case.answer), Memo(row.quirks))
    [usage] = [event.usage for event in frame.events if isinstance(event, UsageReport)]
    assert usage == case.usage
    assert cost(usage, case.price).nusd == case.nusd
