"""The compiled prices say what their source says, and nothing it does not say."""

import datetime
import subprocess
import sys
import time
from decimal import Decimal
from typing import Any

import genai_prices.types
import msgspec
import pytest
from genai_prices.data import providers as source_providers
from genai_prices.data_snapshot import find_provider_by_id

from tools.compile_prices import OUTPUT, TOKENS, compile_prices
from trunkline.catalog import ProviderRow, prices, rows
from trunkline.catalog.prices import context_tokens, lookup
from trunkline.types import Price

SOURCE = {provider.id: provider for provider in source_providers}
INSTANTS = ("2024-01-01T03:00", "2025-07-01T12:00", "2026-09-14T02:30", "2026-11-20T23:59")


def instant(text: str) -> datetime.datetime:
    """Read a UTC time."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def nanoseconds(at: datetime.datetime) -> int:
    """Return the time as the journal writes it."""
    return int(at.timestamp()) * 1_000_000_000


def spelling(model_id: str, turn: int) -> str:
    """Return one way in which callers spell a model's name: bare, dated, in capitals, tagged."""
    tails = ("-20251211", "-2025-12-11", "-20259999", "-latest", ":free", "-mini", "@20250514")
    ways = (model_id.upper(), model_id.rsplit("/", 1)[-1], *(model_id + tail for tail in tails))
    return ways[turn % len(ways)]


def source_model(provider: str, name: str) -> Any:
    """Return the source package's own entry for a name."""
    return SOURCE[provider].find_model(name, all_providers=source_providers)


def source_rate(value: Any, prompt_tokens: int) -> Decimal:
    """Return the source's price of one class at a prompt size."""
    if not isinstance(value, genai_prices.types.TieredPrices):
        return Decimal(value)
    passed = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    return Decimal(passed[-1] if passed else value.base)


def assert_same(price: Price, source: Any) -> None:
    """Compare every class in every tier."""
    tiered = [v for v in vars(source).values() if isinstance(v, genai_prices.types.TieredPrices)]
    assert {threshold for threshold, _ in price.tiers} == {t.start for v in tiered for t in v.tiers}
    rows = [(0, price), *((threshold + 1, tier) for threshold, tier in price.tiers)]
    for prompt_tokens, rates in rows:
        for theirs, ours in TOKENS.items():
            value = getattr(source, theirs)
            found = getattr(rates, ours)
            if value is None:
                assert not found, (theirs, found)
            else:
                wanted = source_rate(value, prompt_tokens)
                assert abs(Decimal(found).scaleb(-9) - wanted) <= Decimal("5e-10"), theirs
        assert rates.request_nusd == (source.requests_kcount or 0) * 10**12
        searches = source.web_searches_kcount
        assert rates.web_search_nusd == (None if searches is None else searches * 10**12)


def source_tiers(entry: Any, at: datetime.datetime) -> dict[str, dict[str, str]]:
    """Return the service tiers that the source prices at a time, and how it is asked for them."""
    return {
        word: variant.when
        for variant in entry.price_variants or ()
        for key, word in variant.when.items()
        if key in {"service_tier", "processing", "speed"} and word != "default"
        if variant.constraint is None or variant.constraint.active(at)
    }


def test_compiling_again_gives_the_file() -> None:
    """`prices.json` is what the pinned package says, and small enough to read in a diff."""
    text, compiler = compile_prices()
    assert OUTPUT.read_text(encoding="utf-8") == text
    assert len(text.encode()) < 700_000
    assert compiler.rounded < 50


@pytest.mark.slow
def test_same_model_for_every_spelling() -> None:
    """A name finds the same entry as in the source package, or none where it finds none."""
    compared = found = 0
    for provider, seller in SOURCE.items():
        for turn, model in enumerate(seller.models):
            for name in (model.id, spelling(model.id, turn)):
                ours, theirs = prices._find(provider, name), source_model(provider, name)
                assert (ours and ours.id) == (theirs and theirs.id), (provider, name)
                compared += 1
                found += ours is not None
    print(f"{compared} names compared, {found} known")
    assert len(prices._data().providers) == len(SOURCE)
    assert found > 2_500


def test_same_prices_at_every_time() -> None:
    """Each class, tier and period of each model has the source's price at each instant."""
    known = in_tiers = 0
    for provider, seller in SOURCE.items():
        for model in seller.models:
            entry = source_model(provider, model.id)
            for text in INSTANTS:
                price = lookup(provider, model.id, nanoseconds(instant(text)))
                if price is None:
                    continue
                known += 1
                assert_same(price, entry.get_prices(instant(text)))
                variants = source_tiers(entry, instant(text)) if entry is model else {}
                assert variants.keys() == dict(price.service_tiers).keys()
                for tier, rates in price.service_tiers:
                    in_tiers += 1
                    assert_same(rates, entry.get_prices(instant(text), variants[tier]))
    print(f"{known} prices compared, {in_tiers} of service tiers")
    assert known > 8_000
    assert in_tiers > 190


@pytest.mark.parametrize("ours", ["gemini", "vertex", "bedrock", "xai", "openai", "azure"])
def test_provider_names_agree_with_the_source(ours: str) -> None:
    """A provider type of ours stands for the provider that the source itself takes it for."""
    theirs = find_provider_by_id(source_providers, ours)
    assert theirs is not None
    assert prices._DATA_NAMES.get(ours, ours) == theirs.id


def test_every_alias_leads_somewhere() -> None:
    """No provider type of ours points to a provider that the data does not have."""
    assert set(prices._DATA_NAMES.values()) <= SOURCE.keys()


@pytest.mark.parametrize(
    "provider", ["openai_compatible", "ollama", "vllm", "demo", "my-openai", ""]
)
def test_a_server_of_ones_own_has_no_list_price(provider: str) -> None:
    """A name that merely contains a seller's name is not that seller."""
    assert lookup(provider, "gpt-4o") is None


def test_another_sellers_models_are_found_through_the_fallback() -> None:
    """Azure sells OpenAI's models, so their price is OpenAI's, but in its own service tiers."""
    own = lookup("openai", "gpt-4o")
    assert own is not None
    assert own.service_tiers
    assert lookup("azure_openai", "gpt-4o") == msgspec.structs.replace(own, service_tiers=())


def test_a_service_tier_has_no_price_before_its_day() -> None:
    """Where the source would charge the standard price without a word."""
    at = [nanoseconds(instant(day)) for day in ("2026-10-11T23:59:59", "2026-10-12T00:00:00")]
    before, after = (lookup("openai", "gpt-5.1", each) for each in at)
    assert before is not None
    assert after is not None
    assert before.service_tiers == ()
    assert dict(after.service_tiers)["flex"].output_nusd * 2 == after.output_nusd


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("google", "gemini-2.5-flash-image"),
        ("openai", "whisper-1"),
        ("cerebras", "qwen-3-coder-480b"),
        ("openai", ""),
    ],
)
def test_what_cannot_be_stated_is_unknown(provider: str, model: str) -> None:
    """Unknown models, and prices by pictures, minutes or nothing at all, are None and never 0."""
    assert lookup(provider, model) is None


@pytest.mark.parametrize(
    "row", [row for row in rows().values() if row.usual_model], ids=lambda row: row.name
)
def test_a_usual_model_is_cheap_and_current(row: ProviderRow) -> None:
    """At most 3 USD per million tokens, not deprecated in the data, and the page is named."""
    price = lookup(row.name, row.usual_model)
    assert price is not None
    assert 0 < price.input_nusd <= price.output_nusd <= 3_000_000_000
    source = prices._DATA_NAMES.get(row.name, row.name)
    assert not source_model(source, row.usual_model).deprecated
    assert row.models_source.startswith("https://")


def test_only_who_sells_models_has_a_usual_one() -> None:
    """A server of one's own has what it was given, and elsewhere the price is not known.

    Perplexity's chat completions have ended; on Azure and Databricks models have one's own names;
    Moonshot has no cheap one.
    """
    without = {"openai_compatible", "perplexity", "azure_openai", "bedrock", "databricks"}
    without |= {"sambanova", "nvidia", "vercel", "huggingface", "github", "moonshot", "litellm"}
    assert {row.name for row in rows().values() if not row.usual_model} == without | {
        row.name for row in rows().values() if row.local
    }


def test_free_is_a_price() -> None:
    """A model whose own name says that it is free costs 0, which is known."""
    price = lookup("openrouter", "deepseek/deepseek-r1:free")
    assert price is not None
    assert (price.input_nusd, price.output_nusd) == (0, 0)


@pytest.mark.parametrize(
    ("at", "input_nusd"),
    [
        ("2025-07-01T00:29:59", 135_000_000),
        ("2025-07-01T00:30:00", 270_000_000),
        ("2025-07-01T16:29:59", 270_000_000),
        ("2025-07-01T16:30:00", 135_000_000),
    ],
)
def test_time_of_day_decides(at: str, input_nusd: int) -> None:
    """A price that changes with the hour is resolved for each call, to the second, in UTC."""
    price = lookup("deepseek", "deepseek-chat", nanoseconds(instant(at)))
    assert price is not None
    assert price.input_nusd == input_nusd


def test_hours_may_pass_midnight() -> None:
    """An interval that ends before it begins lies around midnight."""
    night = prices._Period(None, opens=datetime.time(22), closes=datetime.time(6))
    assert [night.holds(instant(f"2026-01-01T{hour:02d}:00")) for hour in (21, 22, 0, 5, 6)] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_a_date_decides() -> None:
    """A price holds from its day on; before, the old one."""
    at = [nanoseconds(instant(day)) for day in ("2026-10-31T23:59:59", "2026-11-01T00:00:00")]
    before, after = (lookup("arcee", "deepseek/deepseek-v4.1-flash", each) for each in at)
    assert before is not None
    assert after is not None
    assert (before.output_nusd, after.output_nusd) == (660_000_000, 1_200_000_000)


def test_now_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a time the present one counts, also when the model was looked up before."""
    for at, input_nusd in (("2025-07-01T12:00", 270_000_000), ("2025-07-01T20:00", 135_000_000)):
        monkeypatch.setattr(time, "time_ns", lambda at=at: nanoseconds(instant(at)))
        price = lookup("deepseek", "deepseek-chat")
        assert price is not None
        assert price.input_nusd == input_nusd


def test_snapshot_is_on_every_price() -> None:
    """A row can say which data priced it."""
    price = lookup("anthropic", "claude-sonnet-4-5-20250929")
    assert price is not None
    assert price.snapshot == "genai-prices 0.2.3 2026-11-10"


def test_first_lookup_is_quick_and_light() -> None:
    """The first price in a fresh process takes milliseconds and does not load the package."""
    code = (
        "import sys, time; from trunkline.catalog.prices import lookup\n"
        "start = time.process_time(); lookup('openrouter', 'openai/gpt-4o')\n"
        "print(time.process_time() - start, 'genai_prices' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    elapsed_s, loaded = ran.stdout.split()
    assert float(elapsed_s) < 0.03
    assert loaded == "False"


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("openai", "gpt-4", 8192),
        ("anthropic", "claude-sonnet-4-20250514", 200_000),
        ("groq", "openai/gpt-oss-20b", 131_072),
        ("openai", "whisper-1", None),
        ("openai", "a-model-of-tomorrow", None),
        ("openai_compatible", "gpt-4", None),
    ],
)
def test_how_long_a_context_is(provider: str, model: str, tokens: int | None) -> None:
    """As the price data says; what it does not say is not known."""
    assert context_tokens(provider, model) == tokens
