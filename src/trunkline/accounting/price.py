"""Usage x Price -> nano-USD, in whole numbers only.

Sums are taken in nano-USD x tokens per million, and divided by a million once, half even, at the
very end; there is no float on the way.

A token is charged in exactly one class. Classes that are priced apart take their tokens out of the
total in this order, as a rule the dearest first: audio, one-hour cache writes, cache writes, cache
reads; what is left is plain input. So where a provider's numbers overlap (audio that was read from
the cache: `Usage` does not say how much was both) or contradict each other (more cached than
prompted), the first class wins, no count goes below zero and no token is charged twice.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation

from trunkline.types import Cost, Price, Usage

_MILLION = 1_000_000
_MOST_USD = 9_000_000_000
"""What a signed 64-bit column of nano-USD can hold."""
_BYTES_PER_TOKEN = 4


def cost(usage: Usage, price: Price | None, *, estimated: bool = False) -> Cost:
    """Return what `usage` costs at `price`; no price gives an unknown cost, never 0.

    What the provider itself reports counts for more than a listed price, and less than one the user
    configured. In a service tier without a price tokens are charged at the standard one, beside a
    search without a price they alone are: nobody may choose not to be charged. Such a cost is
    `estimated`, as is one of which `estimated` says that the usage itself is a guess.
    """
    reported_nusd = usage.reported_cost_nusd
    if price is not None and (reported_nusd is None or price.configured):
        nusd, whole = _listed(usage, price)
        if whole or reported_nusd is None:
            return Cost(nusd, "exact" if whole and not estimated else "estimated")
    if reported_nusd is None:
        return Cost(None, "unknown")
    return Cost(reported_nusd, "estimated" if estimated else "exact")


def in_service_tier(price: Price, name: str) -> Price | None:
    """Return what counts when the service tier `name` was served; None = not known."""
    if not name:
        return price
    return next((other for tier, other in price.service_tiers if tier == name), None)


def _listed(usage: Usage, price: Price) -> tuple[int, bool]:
    """Return what `usage` costs in nano-USD, and whether `price` has a price for all of it."""
    served = in_service_tier(price, usage.service_tier)
    whole, rates = served is not None, served or price
    prompt_tokens = usage.prompt_tokens
    for threshold, tier in rates.tiers:
        if prompt_tokens <= threshold:
            break
        rates = tier
    total = rates.request_nusd + _input(usage, rates) + _output(usage, rates)
    if usage.web_search_requests > 0:
        whole = whole and rates.web_search_nusd is not None
        total += usage.web_search_requests * (rates.web_search_nusd or 0)
    nusd, rest = divmod(total, _MILLION)
    if rest * 2 > _MILLION or (rest * 2 == _MILLION and nusd & 1):
        nusd += 1
    return nusd, whole


def _input(usage: Usage, rates: Price) -> int:
    if not (usage.cache_read_tokens or usage.cache_write_tokens or usage.audio_input_tokens):
        return max(usage.prompt_tokens, 0) * rates.input_nusd
    write, write_1h = rates.cache_write_nusd, rates.cache_write_1h_nusd
    long_tokens = usage.cache_write_1h_tokens
    classes = (
        (usage.audio_input_tokens, rates.audio_input_nusd),
        (long_tokens, write if write_1h is None else write_1h),
        (usage.cache_write_tokens - long_tokens, write),
        (usage.cache_read_tokens, rates.cache_read_nusd),
    )
    return _side(usage.prompt_tokens, rates.input_nusd, classes)


def _output(usage: Usage, rates: Price) -> int:
    if not usage.audio_output_tokens:
        return max(usage.completion_tokens, 0) * rates.output_nusd
    classes = ((usage.audio_output_tokens, rates.audio_output_nusd),)
    return _side(usage.completion_tokens, rates.output_nusd, classes)


def _side(tokens: int, plain_nusd: int, classes: tuple[tuple[int, int | None], ...]) -> int:
    """Charge one side of a call: each class takes its tokens, what is left is plain."""
    tokens = max(tokens, 0)
    total = 0
    for class_tokens, nusd in classes:
        if class_tokens > 0 and nusd is not None:
            taken = min(class_tokens, tokens)
            tokens -= taken
            total += taken * nusd
    return total + tokens * plain_nusd


class Bound:
    """The most a call can cost at one price: every token at its side's dearest class.

    It holds for the standard service tier and those named, as far as they have a price, and for
    answers without searches.
    """

    __slots__ = ("_tiers", "price")

    def __init__(self, price: Price, *service_tiers: str) -> None:
        self.price = price
        served = [in_service_tier(price, name) for name in dict.fromkeys(("", *service_tiers))]
        self._tiers = [
            (threshold, *_dearest(rates))
            for one in served
            if one is not None
            for threshold, rates in ((-1, one), *one.tiers)
        ]

    def nusd(self, input_tokens: int, output_tokens: int) -> int:
        """Return the bound, in the dearest tier that `input_tokens` can reach; rounded up."""
        most = 0
        for threshold, request, dearest_input, dearest_output in self._tiers:
            total = request + input_tokens * dearest_input + output_tokens * dearest_output
            if input_tokens > threshold and total > most:
                most = total
        return -(-most // _MILLION)

    def output_tokens(self, input_tokens: int, nusd: int, most: int) -> int:
        """Return the most output tokens, `most` at most, for which the bound is within `nusd`.

        -1 = not even an answer without any.
        """
        for threshold, request, dearest_input, dearest_output in self._tiers:
            if input_tokens > threshold:
                left = nusd * _MILLION - request - input_tokens * dearest_input
                if left < 0:
                    return -1
                if dearest_output:
                    most = min(most, left // dearest_output)
        return most


def bound(price: Price | None, *, input_tokens: int, output_tokens: int) -> int | None:
    """Return the most, in nano-USD, that a call of at most so many tokens can cost.

    None if there is no price.
    """
    return None if price is None else Bound(price).nusd(input_tokens, output_tokens)


def _dearest(rates: Price) -> tuple[int, int, int]:
    dearest_input = max(
        rates.input_nusd,
        rates.cache_read_nusd or 0,
        rates.cache_write_nusd or 0,
        rates.cache_write_1h_nusd or 0,
        rates.audio_input_nusd or 0,
    )
    return rates.request_nusd, dearest_input, max(rates.output_nusd, rates.audio_output_nusd or 0)


def output_tokens_from_frames(shown_frames: int, shown_bytes: int, least_frame_bytes: int) -> int:
    """Estimate the tokens received when an answer ended without usage.

    A provider sends at least one token per frame, in an envelope of constant size. So the smallest
    frame is an envelope with one token, and what the others have above it is more text, four bytes
    to a token. A lone frame, perhaps a whole answer, has no other to tell its envelope from: all
    its bytes count as text, which errs towards charging too much.
    """
    if shown_frames <= 1:
        return -(-shown_bytes // _BYTES_PER_TOKEN)
    text_bytes = max(0, shown_bytes - shown_frames * least_frame_bytes)
    return shown_frames - (-text_bytes // _BYTES_PER_TOKEN)


def usd_to_nusd(usd: str | int | float | Decimal) -> int:
    """Convert an amount in USD, as a person or a JSON body writes it, to nano-USD.

    A float counts as the shortest decimal that names it: 0.1 is a tenth.

    Raises:
        ValueError: not a number, negative, finer than a nano-dollar, or too large to keep. The
            message says what to write; put the name of the field before it.
    """
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(usd, bool) or not amount.is_finite():
        raise ValueError(f'{usd!r} is not an amount in USD; write a number such as "12.50"')
    if amount < 0:
        raise ValueError(f"{usd!r} is negative; write an amount in USD of at least 0")
    if amount > _MOST_USD:
        raise ValueError(f"{usd!r} is too large; write at most {_MOST_USD} USD")
    exact = Context(prec=40, traps=[Inexact])
    try:
        return int(exact.quantize(exact.scaleb(amount, 9), Decimal(1)))
    except Inexact:
        raise ValueError(
            f"{usd!r} is finer than a nano-dollar; write at most nine decimal places"
        ) from None


def format_usd(nusd: int) -> str:
    """Write nano-USD as exact USD with at least two decimals: `12.50`, `0.0000375`, `-0.01`."""
    whole, rest = divmod(abs(nusd), 1_000_000_000)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nusd < 0 else ''}{whole}.{decimals}"
