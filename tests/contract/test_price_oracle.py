"""Our cost of real usage against pydantic/genai-prices: its recorded figures, and itself.

`oracle-usages.json.gz` holds usage bodies of real answers with the normalised usage and the prices
that the project's own test suite expects of them, for every provider whose shape they fit.
"""

import datetime
import gzip
import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import genai_prices
import pytest
from genai_prices.data import providers as source_providers

from trunkline.accounting.price import cost
from trunkline.catalog.prices import lookup
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
}


class Case(NamedTuple):
    """One usage, one provider that it could be from, and the cost that was recorded."""

    provider: str
    model: str
    usage: dict[str, int]
    nusd: int


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Return every recorded figure; skip where the recordings are not at hand."""
    path = RECORDINGS / "oracle-usages.json.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} in {RECORDINGS}: set TRUNKLINE_RECORDINGS to its folder")
    return [
        Case(row["provider_id"], record["model"], extracted["usage"], nano(row))
        for record in json.loads(gzip.decompress(path.read_bytes()))
        for extracted in record["extracted"]
        for row in extracted["extractors"]
        if "input_price" in row
    ]


def nano(row: dict[str, str]) -> int:
    """Return a recorded price in nano-USD, rounded half even; fees of tools are left out."""
    return round((Decimal(row["input_price"]) + Decimal(row["output_price"])) * 10**9)


def our_cost(case: Case, at: datetime.datetime) -> int | None:
    """Price the normalised usage our way."""
    usage = Usage(**{ours: case.usage.get(theirs, 0) for ours, theirs in FIELDS.items()})
    price = lookup(case.provider, case.model, int(at.timestamp()) * 1_000_000_000)
    return cost(usage, price).nusd


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
        found.append(
            (case, our_cost(case, at), round((price.input_price + price.output_price) * 10**9))
        )
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
