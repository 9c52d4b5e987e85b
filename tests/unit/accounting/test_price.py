"""Money is whole nano-dollars: exact sums, one rounding, bounds that hold, unknown never 0."""

import timeit
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.accounting.price import (
    Bound,
    bound,
    cost,
    format_usd,
    output_tokens_from_frames,
    usd_to_nusd,
)
from trunkline.types import Cost, Price, Usage

PLAIN = Price(input_nusd=3_000_000_000, output_nusd=15_000_000_000)
FULL = Price(
    input_nusd=3_000_000_000,
    output_nusd=15_000_000_000,
    cache_read_nusd=300_000_000,
    cache_write_nusd=3_750_000_000,
    cache_write_1h_nusd=6_000_000_000,
    audio_input_nusd=10_000_000_000,
    audio_output_nusd=20_000_000_000,
    request_nusd=12_000_000_000_000,
)
CLASSES = (
    ("prompt_tokens",),
    ("prompt_tokens", "cache_read_tokens"),
    ("prompt_tokens", "cache_write_tokens"),
    ("prompt_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    ("prompt_tokens", "audio_input_tokens"),
    ("completion_tokens",),
    ("completion_tokens", "reasoning_tokens"),
    ("completion_tokens", "audio_output_tokens"),
)
"""What grows in `Usage` when a call has one more token of a class."""

tokens = st.integers(0, 400_000)
rates = st.integers(0, 10**11)
maybe_rates = st.none() | rates


def flat_prices() -> st.SearchStrategy[Price]:
    """Draw a price without tiers; any class may be cheaper or dearer than any other."""
    return st.builds(
        Price,
        input_nusd=rates,
        output_nusd=rates,
        cache_read_nusd=maybe_rates,
        cache_write_nusd=maybe_rates,
        cache_write_1h_nusd=maybe_rates,
        audio_input_nusd=maybe_rates,
        audio_output_nusd=maybe_rates,
        request_nusd=rates,
    )


@st.composite
def tiered_prices(draw: st.DrawFn) -> Price:
    """Draw a price with up to three tiers at rising thresholds."""
    thresholds = sorted(draw(st.sets(st.integers(0, 300_000), max_size=3)))
    tiers = tuple((threshold, draw(flat_prices())) for threshold in thresholds)
    return msgspec.structs.replace(draw(flat_prices()), tiers=tiers)


def any_usages(counts: st.SearchStrategy[int] = tokens) -> st.SearchStrategy[Usage]:
    """Draw a usage, contradictory ones included."""
    names = {name for group in CLASSES for name in group}
    return st.builds(Usage, **dict.fromkeys(names, counts))


def test_each_class_has_its_price() -> None:
    """Every class of tokens is charged once, at its own price, and the request beside them."""
    usage = Usage(
        prompt_tokens=10_000,
        completion_tokens=2_000,
        cache_read_tokens=4_000,
        cache_write_tokens=3_000,
        cache_write_1h_tokens=1_000,
        audio_input_tokens=500,
        audio_output_tokens=100,
        reasoning_tokens=700,
    )
    input_nusd = 2_500 * 3_000 + 4_000 * 300 + 2_000 * 3_750 + 1_000 * 6_000 + 500 * 10_000
    output_nusd = 1_900 * 15_000 + 100 * 20_000
    assert cost(usage, FULL) == Cost(input_nusd + output_nusd + 12_000_000, "exact")


def test_classes_without_a_price_are_charged_as_their_parent() -> None:
    """Without a price of their own cached and spoken tokens cost what plain ones do."""
    usage = Usage(
        prompt_tokens=100,
        completion_tokens=10,
        cache_read_tokens=30,
        cache_write_tokens=20,
        cache_write_1h_tokens=20,
        audio_input_tokens=10,
        audio_output_tokens=10,
    )
    assert cost(usage, PLAIN) == Cost(100 * 3_000 + 10 * 15_000)
    written = Price(input_nusd=0, output_nusd=0, cache_write_nusd=1_000_000)
    assert cost(usage, written) == Cost(20)


@pytest.mark.parametrize(
    ("prompt_tokens", "per_token_nusd"), [(1000, 1), (1001, 2), (5000, 2), (5001, 3)]
)
def test_tier_is_the_last_one_exceeded(prompt_tokens: int, per_token_nusd: int) -> None:
    """The whole call costs the tier its prompt exceeds; at the threshold it does not yet."""
    tiers = tuple(
        (start, Price(input_nusd=nusd * 1_000_000, output_nusd=nusd * 1_000_000))
        for start, nusd in ((1000, 2), (5000, 3))
    )
    price = Price(input_nusd=1_000_000, output_nusd=1_000_000, tiers=tiers)
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=7)
    assert cost(usage, price) == Cost((prompt_tokens + 7) * per_token_nusd)


def test_unknown_is_not_free() -> None:
    """No price gives an unknown cost, however sure the usage; a price of 0 gives an exact 0."""
    usage = Usage(prompt_tokens=10, completion_tokens=10)
    assert cost(usage, None) == cost(usage, None, estimated=True) == Cost(None, "unknown")
    assert cost(usage, Price(input_nusd=0, output_nusd=0)) == Cost(0, "exact")
    assert bound(None, input_tokens=1, output_tokens=1) is None


def test_a_guess_is_called_one() -> None:
    """The cost of a guessed usage says that it is estimated."""
    assert cost(Usage(prompt_tokens=1), PLAIN, estimated=True) == Cost(3_000, "estimated")


def test_more_cached_than_prompted_is_clamped() -> None:
    """A provider that reports more cached than prompted tokens is charged for the prompt, once."""
    usage = Usage(prompt_tokens=100, cache_read_tokens=250)
    assert cost(usage, FULL) == Cost(100 * 300 + 12_000_000)


def test_overlap_goes_to_the_dearer_class() -> None:
    """Audio read from the cache is counted in both classes and charged as audio, once."""
    usage = Usage(prompt_tokens=100, cache_read_tokens=80, audio_input_tokens=60)
    assert cost(usage, FULL) == Cost(60 * 10_000 + 40 * 300 + 12_000_000)


def test_each_service_tier_has_its_price() -> None:
    """The tier that was served decides; the long prompts of a tier have the price of that tier."""
    long = Price(input_nusd=1_000_000, output_nusd=0)
    flex = Price(input_nusd=2_000_000, output_nusd=0, tiers=((10, long),))
    price = msgspec.structs.replace(PLAIN, service_tiers=(("flex", flex), ("priority", FULL)))
    usage = Usage(prompt_tokens=10)
    assert cost(usage, price) == Cost(10 * 3_000)
    served = msgspec.structs.replace(usage, service_tier="flex")
    assert cost(served, price) == Cost(20)
    assert cost(msgspec.structs.replace(served, prompt_tokens=11), price) == Cost(11)


@pytest.mark.parametrize(
    ("usage", "nusd"),
    [
        (Usage(prompt_tokens=10, service_tier="batch"), 30_000),
        (Usage(prompt_tokens=10, web_search_requests=1), 30_000),
        (Usage(prompt_tokens=10, web_search_requests=1, service_tier="flex"), 10_000),
        (Usage(prompt_tokens=11, web_search_requests=1, service_tier="batch"), 66_000),
    ],
)
def test_what_is_charged_apart_and_has_no_price_is_estimated(usage: Usage, nusd: int) -> None:
    """At the standard price, and without the search: never nothing, and never called exact.

    What the provider says it charged is known, even beside a configured price that says nothing.
    """
    flex = Price(input_nusd=1_000_000_000, output_nusd=0)
    long = Price(input_nusd=6_000_000_000, output_nusd=0)
    price = msgspec.structs.replace(PLAIN, service_tiers=(("flex", flex),), tiers=((10, long),))
    configured = msgspec.structs.replace(price, configured=True)
    for known in (price, configured):
        assert cost(usage, known) == cost(usage, known, estimated=True) == Cost(nusd, "estimated")
        reported = msgspec.structs.replace(usage, reported_cost_nusd=7)
        assert cost(reported, known) == Cost(7)


def test_searches_are_charged_by_the_use() -> None:
    """Ten USD for a thousand searches is a cent for each; a price of 0 is one."""
    price = msgspec.structs.replace(PLAIN, web_search_nusd=10_000_000_000_000)
    usage = Usage(prompt_tokens=10, web_search_requests=3)
    assert cost(usage, price) == Cost(10 * 3_000 + 3 * 10_000_000)
    assert cost(usage, msgspec.structs.replace(PLAIN, web_search_nusd=0)) == Cost(10 * 3_000)


@given(any_usages(st.integers(-(10**6), 10**6)), tiered_prices())
def test_cost_is_a_whole_number_of_at_least_zero(usage: Usage, price: Price) -> None:
    """No usage, however nonsensical, gives a float or a negative cost."""
    nusd = cost(usage, price).nusd
    assert type(nusd) is int
    assert nusd >= 0


@given(any_usages(), flat_prices(), st.sampled_from(CLASSES), st.integers(1, 10_000))
def test_one_more_token_never_costs_less(
    usage: Usage, price: Price, grown: tuple[str, ...], more: int
) -> None:
    """Cost is monotone in each class of tokens."""
    larger: Any = {name: getattr(usage, name) + more for name in grown}
    before, after = cost(usage, price), cost(msgspec.structs.replace(usage, **larger), price)
    assert before.nusd is not None
    assert after.nusd is not None
    assert after.nusd >= before.nusd


@given(tiered_prices(), st.data())
def test_bound_holds(price: Price, data: st.DataObject) -> None:
    """No usage within the bounds costs more than the bound."""
    input_tokens, output_tokens = data.draw(tokens), data.draw(tokens)
    usage = msgspec.structs.replace(
        data.draw(any_usages()),
        prompt_tokens=data.draw(st.integers(0, input_tokens)),
        completion_tokens=data.draw(st.integers(0, output_tokens)),
    )
    most = bound(price, input_tokens=input_tokens, output_tokens=output_tokens)
    spent = cost(usage, price).nusd
    assert type(most) is int
    assert spent is not None
    assert spent <= most


@given(tiered_prices(), tiered_prices(), st.sampled_from(["", "flex"]), st.data())
def test_bound_of_service_tiers_holds(
    standard: Price, flex: Price, served: str, data: st.DataObject
) -> None:
    """It covers the standard tier and each that is named; one without a price is left out."""
    price = msgspec.structs.replace(standard, service_tiers=(("flex", flex),))
    usage = msgspec.structs.replace(data.draw(any_usages()), service_tier=served)
    spent = cost(usage, price).nusd
    assert spent is not None
    sides = usage.prompt_tokens, usage.completion_tokens
    assert spent <= Bound(price, "flex").nusd(*sides)
    assert Bound(price, "scale").nusd(*sides) == Bound(price).nusd(*sides)


def test_bound_is_the_dearest_class_of_the_tier_in_reach() -> None:
    """A bound is no looser than it must be: tiers that the prompt cannot reach are left out."""
    price = msgspec.structs.replace(FULL, tiers=((1000, PLAIN), (2000, FULL)), audio_input_nusd=1)
    in_reach = 1000 * 6_000 + 10 * 20_000 + 12_000_000
    assert bound(price, input_tokens=1000, output_tokens=10) == in_reach
    beyond = 2001 * 10_000 + 10 * 20_000 + 12_000_000
    assert bound(price, input_tokens=2001, output_tokens=10) == beyond
    tiny = Price(input_nusd=1, output_nusd=0)
    assert bound(tiny, input_tokens=1, output_tokens=0) == 1


@given(tiered_prices(), tiered_prices(), tokens, tokens, tokens)
def test_the_bound_is_turned_round_exactly(
    standard: Price, flex: Price, input_tokens: int, output_tokens: int, most: int
) -> None:
    """What an amount buys fits into it, and one token more does not, unless nobody wants it."""
    made = Bound(msgspec.structs.replace(standard, service_tiers=(("flex", flex),)), "flex")
    nusd = made.nusd(input_tokens, output_tokens)
    for amount_nusd in (nusd, nusd - 1):
        bought = made.output_tokens(input_tokens, amount_nusd, most)
        assert bought <= most
        assert bought < 0 or made.nusd(input_tokens, bought) <= amount_nusd
        assert bought == most or made.nusd(input_tokens, bought + 1) > amount_nusd
    assert made.output_tokens(input_tokens, nusd, most) >= min(output_tokens, most)


@given(tokens, tokens, rates, rates)
def test_one_division_half_even(
    prompt_tokens: int, completion_tokens: int, input_nusd: int, output_nusd: int
) -> None:
    """The sum is divided once and rounded half even, as exact fractions do it."""
    price = Price(input_nusd=input_nusd, output_nusd=output_nusd)
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    total = prompt_tokens * input_nusd + completion_tokens * output_nusd
    spent = cost(usage, price).nusd
    assert spent == round(Fraction(total, 1_000_000))
    assert spent == int(Decimal(total).scaleb(-6).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("total", "nusd"),
    [(499_999, 0), (500_000, 0), (500_001, 1), (1_500_000, 2), (2_500_000, 2), (2_500_001, 3)],
)
def test_halves_go_to_the_even_neighbour(total: int, nusd: int) -> None:
    """Exactly half a nano-dollar rounds to the even neighbour, anything else to the nearer one."""
    assert cost(Usage(prompt_tokens=1), Price(input_nusd=total, output_nusd=0)) == Cost(nusd)


@pytest.mark.parametrize(
    ("usd", "nusd"),
    [
        ("12.50", 12_500_000_000),
        (12.5, 12_500_000_000),
        (0.1, 100_000_000),
        (1e-7, 100),
        ("0.000000001", 1),
        ("0.300000000000", 300_000_000),
        (Decimal("0.25"), 250_000_000),
        (100, 100_000_000_000),
        ("-0", 0),
        (9_000_000_000, 9 * 10**18),
    ],
)
def test_usd_is_converted_exactly(usd: str | float | Decimal, nusd: int) -> None:
    """Text, integers, floats as written and decimals become whole nano-dollars."""
    converted = usd_to_nusd(usd)
    assert type(converted) is int
    assert converted == nusd


@pytest.mark.parametrize(
    ("usd", "says"),
    [
        ("ten", "not an amount"),
        ("", "not an amount"),
        ("nan", "not an amount"),
        (float("inf"), "not an amount"),
        (True, "not an amount"),
        (None, "not an amount"),
        ([], "not an amount"),
        ("-0.01", "negative"),
        ("1e-10", "nine decimal places"),
        ("1e-999999999", "nine decimal places"),
        (0.1 + 0.2, "nine decimal places"),
        ("0." + "1" * 50, "nine decimal places"),
        ("1e999999999", "too large"),
        (9_000_000_001, "too large"),
    ],
)
def test_bad_amounts_say_what_to_write(usd: Any, says: str) -> None:
    """What is not an exact amount is refused with a message that helps, and at once."""
    with pytest.raises(ValueError, match=says):
        usd_to_nusd(usd)


@pytest.mark.parametrize(
    ("nusd", "text"),
    [(0, "0.00"), (12_500_000_000, "12.50"), (37_500, "0.0000375"), (-10_000_000, "-0.01")],
)
def test_format_is_exact(nusd: int, text: str) -> None:
    """Nano-dollars are written in full, with at least two decimals."""
    assert format_usd(nusd) == text


@given(st.integers(0, 9 * 10**18))
def test_format_can_be_read_back(nusd: int) -> None:
    """What is written is the same amount when it is read."""
    assert usd_to_nusd(format_usd(nusd)) == nusd


def test_frames_stand_for_tokens() -> None:
    """A frame is a token in an envelope; what it has above the smallest frame is more text."""
    assert output_tokens_from_frames(0, 0, 0) == 0
    assert output_tokens_from_frames(50, 50 * 210, 210) == 50
    assert output_tokens_from_frames(50, 50 * 210 + 40, 210) == 60
    assert output_tokens_from_frames(50, 50 * 210 + 1, 210) == 51


def test_a_lone_frame_is_all_text() -> None:
    """A whole answer without usage is estimated from its bytes, never as a single token."""
    assert output_tokens_from_frames(1, 4_001, 4_001) == 1_001


@given(st.integers(0, 10_000), st.integers(0, 10**7), st.integers(0, 10**4))
def test_frame_estimate_is_sane(frames: int, size: int, least: int) -> None:
    """The estimate is a whole number, never below the frames unless there is one alone."""
    estimate = output_tokens_from_frames(frames, size, least)
    assert type(estimate) is int
    assert estimate >= (frames if frames > 1 else 0)


def test_cost_is_cheap() -> None:
    """Pricing a usual call stays within a few microseconds (1.1 measured)."""
    usage = Usage(prompt_tokens=1_200, completion_tokens=300, cache_read_tokens=1_000)
    best_s = min(timeit.repeat(lambda: cost(usage, FULL), number=2_000, repeat=5)) / 2_000
    assert best_s < 5e-6
