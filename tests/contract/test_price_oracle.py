"""Our cost of real usage against pydantic/genai-prices: its recorded figures, and itself.

`oracle-usages.json.gz` holds usage bodies of real answers with the normalised usage and the prices
that the project's own test suite expects of them, for every provider whose shape they fit.
"""

import datetime
import gzip
import json
import os
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import genai_prices
import pytest
from genai_prices.data import providers as source_providers
from msgspec.structs import replace

from trunkline.accounting.price import cost
from trunkline.catalog import rows
from trunkline.catalog.prices import lookup
from trunkline.dialects.anthropic.usage import usage_of as anthropic_usage
from trunkline.dialects.gemini.usage import usage_of as gemini_usage
from trunkline.dialects.openai_chat.usage import usage_of as chat_usage
from trunkline.types import Usage

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
RECORDED = datetime.datetime(2026, 6, 15, 12, tzinfo=datetime.UTC)
"""The file does not name its day. At this one all figures fit today's data, but for the tables."""
PEAK = datetime.datetime(2026, 11, 20, 2, tzinfo=datetime.UTC)

UNKNOWN = {
    ("google", "gemini-2.5-flash-image"): "pictures have a price of their own",
    ("google", "gemini-3-pro-image-preview"): "pictures have a price of their own",
    ("cerebras", "qwen-3-coder-480b"): "the source names no price, and calls that 0",
}
CACHED_AUDIO = {
    ("google", "gemini-2.5-flash"): "Usage cannot say how much audio was cached: dearer"
}
SINCE_CHANGED = {
    ("mistral", "mistral-small-latest"): "the name moved to another model on 2026-03-16",
    ("mistral", "ministral-8b-latest"): "recorded at 1 USD for output, 0.15 by now",
    ("google", "claude-sonnet-4-5-20250929"): "priced without the tier above 200,000 tokens",
}
FIELDS = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "web_search_requests": "web_searches",
}


class Case(NamedTuple):
    """One usage, one provider that it could be from, and the cost that was recorded."""

    provider: str
    flavor: str
    model: str
    wire: dict[str, Any]
    usage: dict[str, int]
    nusd: int


READ_OTHERWISE: dict[str, Callable[[Case], bool]] = {
    "a compaction is billed and stands in `iterations` alone": lambda case: (
        "compaction" in {one["type"] for one in case.wire.get("iterations") or ()}
    ),
    "the source does not know `num_cached_tokens`": lambda case: (
        case.wire.get("num_cached_tokens", 0) > 0
    ),
    "the source does not read the tier that Gemini names": lambda case: (
        case.wire.get("serviceTier", "standard") != "standard"
        or case.wire.get("trafficType", "ON_DEMAND") not in {"ON_DEMAND", 1}
    ),
}
"""Why we read another usage from a body than the source; decision 0016 says it at length."""
CHAT_ROWS = {"xai": "x-ai", "gemini": "google", "moonshot": "moonshotai"}
"""Our rows -> the source's names, where they differ."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Return every recorded figure; skip where the recordings are not at hand."""
    path = RECORDINGS / "oracle-usages.json.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} in {RECORDINGS}: set TRUNKLINE_RECORDINGS to its folder")
    return [
        Case(
            row["provider_id"],
            row["api_flavor"],
            record["model"],
            record["body"].get("usage") or record["body"].get("usageMetadata") or {},
            extracted["usage"],
            nano(row),
        )
        for record in json.loads(gzip.decompress(path.read_bytes()))
        for extracted in record["extracted"]
        for row in extracted["extractors"]
        if "input_price" in row
    ]


def nano(row: dict[str, str]) -> int:
    """Return a recorded price in nano-USD, rounded half even; it includes fees of searches."""
    tokens = Decimal(row["input_price"]) + Decimal(row["output_price"])
    return round(Decimal(row.get("total_price", tokens)) * 10**9)


def our_usage(case: Case) -> Usage:
    """Take the source's normalised usage for ours."""
    counts: dict[str, Any] = {our: case.usage.get(theirs, 0) for our, theirs in FIELDS.items()}
    return Usage(**counts)


def our_cost(case: Case, at: datetime.datetime, tier: str = "") -> int | None:
    """Price the normalised usage our way."""
    price = lookup(case.provider, case.model, int(at.timestamp()) * 1_000_000_000)
    return cost(replace(our_usage(case), service_tier=tier), price).nusd


def compare(
    found: list[tuple[Case, int | None, int]], differs: dict[tuple[str, str], str]
) -> Counter[str]:
    """Count what is equal, unknown and different; a table must excuse what is not equal.

    An excuse that nothing needs is a failure too.
    """
    counts: Counter[str] = Counter()
    excused = set()
    for case, ours, theirs in found:
        counts["equal" if ours == theirs else "unknown" if ours is None else "different"] += 1
        if ours != theirs:
            name = (case.provider, case.model)
            assert name in (UNKNOWN if ours is None else differs), (case, ours, theirs)
            excused.add(name)
    assert excused == UNKNOWN.keys() | differs.keys()
    return counts


def test_recorded_figures(cases: list[Case]) -> None:
    """Our cost equals the recorded one to the nano-dollar, or a table says why not."""
    found = [(case, our_cost(case, RECORDED), case.nusd) for case in cases]
    counts = compare(found, CACHED_AUDIO | SINCE_CHANGED)
    print(f"recorded figures: {dict(counts)}, {len({case.provider for case in cases})} providers")
    assert counts["equal"] > 3_400


@pytest.mark.parametrize("at", [RECORDED, PEAK])
def test_the_source_itself(cases: list[Case], at: datetime.datetime) -> None:
    """Our cost equals what the source computes today from the same data, to the nano-dollar."""
    sellers = {provider.id: provider for provider in source_providers}
    found = []
    for case in cases:
        seller = sellers[case.provider]
        model = seller.find_model(case.model, all_providers=source_providers)
        assert model is not None
        usage = genai_prices.Usage(**case.usage)
        price = model.calc_price(usage, seller, genai_request_timestamp=at)
        found.append((case, our_cost(case, at), round(price.total_price * 10**9)))
    counts = compare(found, CACHED_AUDIO)
    print(f"the source itself at {at:%Y-%m-%d}: {dict(counts)}")
    assert counts["equal"] > 3_400


def test_ambiguous_cached_audio_is_never_cheaper(cases: list[Case]) -> None:
    """Where the overlap of cached and spoken tokens is unknown, we charge at least the truth."""
    for case in cases:
        if (case.provider, case.model) in CACHED_AUDIO:
            ours = our_cost(case, RECORDED)
            assert ours is not None
            assert ours >= case.nusd


def decoded(case: Case) -> Usage | None:
    """Read the wire body with the dialect in which we would ask; None = it is not read here.

    What the provider itself says it charged is left out: it would hide what we make of the counts.
    """
    row = {CHAT_ROWS.get(name, name): row for name, row in rows().items()}.get(case.provider)
    if row is None or case.flavor not in {"default", "chat"}:
        return None
    if row.dialect == "anthropic" and "input_tokens" in case.wire:
        usage = anthropic_usage(case.wire)
    elif row.dialect == "gemini" and "promptTokenCount" in case.wire:
        usage = gemini_usage(case.wire)
    elif row.dialect == "openai_chat" and "prompt_tokens" in case.wire:
        usage = chat_usage(case.wire, row.quirks)
    else:
        return None
    return replace(usage, reported_cost_nusd=None)


def test_from_the_wire_to_the_cost(cases: list[Case]) -> None:
    """A body that a provider of ours sends is decoded to the same usage, and costs the same.

    Where it does not, the body is of a kind that `READ_OTHERWISE` explains, or the price is.
    """
    counts: Counter[str] = Counter()
    priced_otherwise = UNKNOWN | SINCE_CHANGED
    for case in cases:
        if (usage := decoded(case)) is None:
            continue
        why = next((why for why, holds in READ_OTHERWISE.items() if holds(case)), "")
        assert (usage == our_usage(case)) is not bool(why), (case, usage)
        both = bool(usage.audio_input_tokens and usage.cache_read_tokens)
        excuses = priced_otherwise | (CACHED_AUDIO if both else {})
        if not why and (case.provider, case.model) not in excuses:
            price = lookup(case.provider, case.model, int(RECORDED.timestamp()) * 1_000_000_000)
            assert cost(usage, price).nusd == case.nusd, (case, usage)
        counts[why or "same"] += 1
    print(f"from the wire: {dict(counts)}")
    assert counts["same"] > 580
    assert counts.keys() == {"same", *READ_OTHERWISE}


@pytest.mark.parametrize("tier", ["batch", "flex", "priority", "fast"])
def test_service_tiers_cost_what_the_source_says(cases: list[Case], tier: str) -> None:
    """Each usage costs in each tier what the source computes, where it has a price for the tier.

    Where it has none, it charges the standard price without a word, and we say that we estimate.
    """
    sellers = {provider.id: provider for provider in source_providers}
    counts: Counter[str] = Counter()
    for case in cases:
        seller = sellers[case.provider]
        model = seller.find_model(case.model, all_providers=source_providers)
        assert model is not None
        contexts = [
            variant.when
            for variant in (model.price_variants or ())
            if model in seller.models
            if [*variant.when.values()] == [tier]
            and (variant.constraint is None or variant.constraint.active(PEAK))
        ]
        ours = our_cost(case, PEAK, tier)
        if not contexts:
            assert ours == our_cost(case, PEAK), case
            counts["estimated"] += 1
        elif (case.provider, case.model) not in UNKNOWN | CACHED_AUDIO:
            usage = genai_prices.Usage(**case.usage)
            price = model.calc_price(
                usage, seller, genai_request_timestamp=PEAK, price_context=contexts[0]
            )
            assert ours == round(price.total_price * 10**9), case
            counts["equal"] += 1
    print(f"{tier}: {dict(counts)}")
    assert counts["equal"] > 10
