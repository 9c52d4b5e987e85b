"""What providers charge, and how much their models read: `prices.json`, compiled by `tools`.

Only what is known is stated: a model that the data does not name, or prices by something `Usage`
does not count (pictures, minutes, pages), has no price here, which is not a price of 0; nor has a
service tier (batch, flex, priority) that the data does not price for this seller. Fees of tools
other than web search come on top. Some prices change on a date or with the hour, so ask again for
each call: asking again costs about a microsecond.
"""

from __future__ import annotations

import datetime
import re
import time
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from trunkline.types import Price

_DATA_NAMES = {
    "azure_openai": "azure",
    "bedrock": "aws",
    "gemini": "google",
    "moonshot": "moonshotai",
    "vertex": "google",
    "xai": "x-ai",
}
"""Our provider types -> the data's, where they differ. Never matched by part of a name: an
`openai_compatible` server does not charge OpenAI's prices."""

_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=[-:]|$)")


class _Match(Struct, frozen=True):
    """Rules for a model's name, of which one must hold."""

    equals: tuple[str, ...] = ()
    starts_with: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    all_of: tuple[tuple[_Match, ...], ...] = ()

    def holds(self, name: str) -> bool:
        return (
            name in self.equals
            or name.startswith(self.starts_with)
            or name.endswith(self.ends_with)
            or any(part in name for part in self.contains)
            or any(re.search(pattern, name) for pattern in self.regex)
            or any(all(rule.holds(name) for rule in group) for group in self.all_of)
        )


class _Period(Struct, frozen=True):
    """A price and when it holds: from a day on, or between two times of each day, all UTC."""

    price: Price | None
    since: datetime.date | None = None
    opens: datetime.time | None = None
    closes: datetime.time | None = None

    def holds(self, at: datetime.datetime) -> bool:
        if self.since is not None:
            return at.date() >= self.since
        if self.opens is None or self.closes is None:
            return True
        now = at.time()
        if self.opens <= self.closes:
            return self.opens <= now < self.closes
        return now >= self.opens or now < self.closes


class _Model(Struct, frozen=True):
    id: str
    match: _Match
    prices: tuple[_Period, ...]
    """The last one that holds counts; the first if none does."""
    context_tokens: int | None = None


class _Provider(Struct, frozen=True):
    models: tuple[_Model, ...]
    """The first one that matches counts."""
    fallback: tuple[str, ...]
    """Providers whose models are also sold here, at their prices."""


class _Data(Struct, frozen=True):
    snapshot: str
    providers: dict[str, Raw]


def lookup(provider: str, model: str, at_ns: int | None = None) -> Price | None:
    """Return what `model` of the provider type `provider` costs at `at_ns` (now if None).

    None means that the price is not known.
    """
    periods = _periods(provider, model)
    if not periods:
        return None
    if len(periods) > 1:
        at_s = (time.time_ns() if at_ns is None else at_ns) // 1_000_000_000
        at = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
        for period in reversed(periods):
            if period.holds(at):
                return period.price
    return periods[0].price


def sells(provider: str) -> bool:
    """Tell whether the price of any model of the provider type `provider` may be known."""
    return bool(_sellers(_DATA_NAMES.get(provider, provider)))


@lru_cache(maxsize=4096)
def context_tokens(provider: str, model: str) -> int | None:
    """Return how long a context `model` of the provider type `provider` takes; None = not known."""
    found = _find(provider, model)
    return None if found is None else found.context_tokens


@lru_cache(maxsize=4096)
def _periods(provider: str, model: str) -> tuple[_Period, ...]:
    """Return every price that `model` has had; bounded, since callers choose the names.

    Of another seller's model only the standard price is known to be the same here.
    """
    found = _find(provider, model)
    if found is None:
        return ()
    changes: dict[str, Any] = {"snapshot": _data().snapshot}
    if not any(found is own for own in _sellers(_DATA_NAMES.get(provider, provider))[0].models):
        changes["service_tiers"] = ()
    return tuple(
        replace(period, price=period.price and replace(period.price, **changes))
        for period in found.prices
    )


def _find(provider: str, model: str) -> _Model | None:
    """Return the entry for `model`; a compact date in its name is tried with dashes as well."""
    name = model.lower()
    dashed = _COMPACT_DATE.sub(_dashed, name)
    sellers = _sellers(_DATA_NAMES.get(provider, provider))
    for spelling in (name, dashed) if dashed != name else (name,):
        for seller in sellers:
            for entry in seller.models:
                if entry.match.holds(spelling):
                    return entry
    return None


def _dashed(date: re.Match[str]) -> str:
    try:
        return f"-{datetime.date(int(date[1]), int(date[2]), int(date[3]))}"
    except ValueError:
        return date[0]


def _sellers(provider: str) -> tuple[_Provider, ...]:
    if provider not in _data().providers:
        return ()
    own = _provider(provider)
    return (own, *(_provider(name) for name in own.fallback))


@cache
def _provider(name: str) -> _Provider:
    return msgspec.json.decode(_data().providers[name], type=_Provider)


@cache
def _data() -> _Data:
    return msgspec.json.decode(Path(__file__).with_name("prices.json").read_bytes(), type=_Data)
