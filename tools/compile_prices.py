"""Compile the prices, and the contexts, of the pinned genai-prices into our own plain file.

`python -m tools.compile_prices` writes `src/trunkline/catalog/prices.json`; a unit test compiles
again and compares. The package stays a development dependency: importing it costs 220 ms and
brings pydantic, reading the file a few milliseconds. One model per line, so that a diff of two
snapshots reads as a list of price changes. A model keeps its line when it has no price we can
state: models match in order, and without it the name would fall through to another model's price.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parents[1] / "src" / "trunkline" / "catalog" / "prices.json"
VERSION, RELEASED = "0.2.3", date(2026, 11, 10)
"""The package does not say how old its data is. Source: https://pypi.org/project/genai-prices/"""

TOKENS = {
    "input_mtok": "input_nusd",
    "output_mtok": "output_nusd",
    "cache_read_mtok": "cache_read_nusd",
    "cache_write_mtok": "cache_write_nusd",
    "cache_write_1h_mtok": "cache_write_1h_nusd",
    "input_audio_mtok": "audio_input_nusd",
    "output_audio_mtok": "audio_output_nusd",
}
FEES = {"requests_kcount": "request_nusd", "web_searches_kcount": "web_search_nusd"}
NOT_OURS = {"storage_searches_kcount"}
"""Fees of tools, on top of the tokens, that `Usage` does not count."""
OVERLAPS = {"cache_audio_read_mtok", "cache_image_read_mtok"}
"""Cached and of a modality at once, which `Usage` cannot tell; `accounting.price` has the rule."""
SERVICE_TIERS = {"service_tier", "processing", "speed"}
"""What variants depend on that `Usage.service_tier` names; others are left out (routes, kinds of
search)."""
STANDARD = {"service_tier": "default"}


class Compiler:
    """Turns the package's objects into plain data, and counts what had to be rounded."""

    def __init__(self) -> None:
        self.rounded = 0
        self.unstated: list[str] = []

    def provider(self, provider: Any) -> dict[str, Any]:
        models = [self.model(provider.id, model) for model in provider.models]
        return {"fallback": provider.fallback_model_providers or [], "models": models}

    def model(self, provider: str, model: Any) -> dict[str, Any]:
        free = model.id.endswith(":free")
        prices = []
        for when, standard, variants in periods(model):
            price = self.price(standard, free=free)
            tiers = [[name, self.price(one, free=free)] for name, one in sorted(variants.items())]
            if price is not None and (known := [tier for tier in tiers if tier[1] is not None]):
                price["service_tiers"] = known
            prices.append(when | {"price": price})
        if any(entry["price"] is None for entry in prices):
            self.unstated.append(f"{provider}/{model.id}")
        context = {"context_tokens": model.context_window} if model.context_window else {}
        return {"id": model.id, "match": match([model.match]), "prices": prices} | context

    def price(self, source: Any, *, free: bool) -> dict[str, Any] | None:
        """Return the fields of a `Price`; None where one could not be true.

        None if it names a unit that `Usage` does not count (pictures, minutes, pages), or no token
        price at all: that is "not known", except under a name that says it is free.
        """
        named = {key: value for key, value in vars(source).items() if value is not None}
        units = named.keys() - NOT_OURS - OVERLAPS - {"web_searches_kcount"}
        fees = {FEES[key]: self.nusd(named[key] * 1000) for key in FEES.keys() & named.keys()}
        if not units:
            return {"input_nusd": 0, "output_nusd": 0} | fees if free else None
        if "input_mtok" not in units or units - TOKENS.keys() - FEES.keys():
            return None
        price: dict[str, Any] = self.rates(named, 0) | fees
        thresholds = sorted(set(starts(named)))
        if thresholds:
            price["tiers"] = [[start, self.rates(named, start + 1) | fees] for start in thresholds]
        return price

    def rates(self, named: dict[str, Any], prompt_tokens: int) -> dict[str, int]:
        """Return the price of each class in a call of so many prompt tokens.

        A model with a price for input only makes no tokens: embeddings, classifiers.
        """
        rates = {"output_nusd": 0}
        for key in TOKENS.keys() & named.keys():
            value = named[key]
            for tier in getattr(value, "tiers", ()):
                if prompt_tokens > tier.start:
                    value = tier
            rates[TOKENS[key]] = self.nusd(getattr(value, "price", getattr(value, "base", value)))
        return rates

    def nusd(self, usd: Decimal) -> int:
        """Convert USD to nano-USD, half even where the source kept the dust of a float."""
        exact = usd * 10**9
        nusd = exact.to_integral_value(ROUND_HALF_EVEN)
        self.rounded += nusd != exact
        return int(nusd)


def starts(named: dict[str, Any]) -> Iterator[int]:
    for key in TOKENS.keys() & named.keys():
        yield from (tier.start for tier in getattr(named[key], "tiers", ()))


def periods(model: Any) -> Iterator[tuple[dict[str, str], Any, dict[str, Any]]]:
    """Yield when prices hold, the standard ones, and those of each service tier.

    A variant says only what is different, perhaps nothing. Where there are any, each day on which
    a price begins begins a period; before its day a tier has no price here, where the source would
    charge the standard one.
    """
    dated = model.prices if isinstance(model.prices, list) else [model]
    variants = [
        variant
        for variant in model.price_variants or ()
        if variant.when.keys() <= SERVICE_TIERS and variant.when != STANDARD
    ]
    if not variants:
        for entry in dated:
            yield period(getattr(entry, "constraint", None)), entry.prices, {}
        return
    begins = [period(getattr(one, "constraint", None)) for one in (*dated, *variants)]
    if any("opens" in one for one in begins):
        raise SystemExit(f"{model.id}: variants by the hour; teach tools/compile_prices.py first")
    for day in ["", *sorted({one["since"] for one in begins if one})]:
        at = datetime.fromisoformat(day or "2000-01-01").replace(tzinfo=UTC)
        tiers = {
            "-".join(variant.when.values()): model.get_prices(at, variant.when)
            for variant in variants
            if variant.constraint is None or variant.constraint.active(at)
        }
        yield {"since": day} if day else {}, model.get_prices(at), tiers


def period(constraint: Any) -> dict[str, str]:
    """Return when a price holds: from a UTC day on, or between two UTC times of each day."""
    if constraint is None:
        return {}
    if hasattr(constraint, "start_date"):
        return {"since": constraint.start_date.isoformat()}
    hours = {"opens": constraint.start_time, "closes": constraint.end_time}
    if any(time.utcoffset() for time in hours.values()):
        raise SystemExit(f"{constraint}: not UTC; teach trunkline.catalog.prices about it first")
    return {key: time.replace(tzinfo=None).isoformat() for key, time in hours.items()}


def match(clauses: list[Any]) -> dict[str, list[Any]]:
    """Return clauses of which one must hold, by kind; `all_of` lists groups that hold together."""
    rule: dict[str, list[Any]] = {}
    for clause in clauses:
        ((kind, value),) = vars(clause).items()
        if kind == "or_":
            for key, values in match(value).items():
                rule.setdefault(key, []).extend(values)
        elif kind == "and_":
            rule.setdefault("all_of", []).append([match([each]) for each in value])
        else:
            rule.setdefault(kind, []).append(value if kind == "regex" else value.lower())
    return {key: values if key == "all_of" else sorted(set(values)) for key, values in rule.items()}


def render(document: dict[str, Any]) -> str:
    """Return `document` as JSON: sorted keys, providers sorted, each model on a line."""
    line = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
    blocks = []
    for name, provider in sorted(document["providers"].items()):
        models = ",\n".join(line(model) for model in provider["models"])
        blocks.append(
            f'{line(name)}:{{"fallback":{line(provider["fallback"])},"models":[\n{models}\n]}}'
        )
    head = f'"licence":{line(document["licence"])},\n"snapshot":{line(document["snapshot"])}'
    return f'{{\n{head},\n"providers":{{\n' + ",\n".join(blocks) + "\n}\n}\n"


def compile_prices() -> tuple[str, Compiler]:
    """Return the file's text and what the compiler noticed.

    Raises:
        SystemExit: the installed package is not the one whose date is written here.
    """
    from genai_prices.data import providers

    package = metadata.distribution("genai-prices")
    if package.version != VERSION:
        raise SystemExit(
            f"genai-prices {package.version} is installed, this file knows {VERSION}: "
            "put the new version and the day of its release into tools/compile_prices.py"
        )
    compiler = Compiler()
    document = {
        "licence": package.read_text("licenses/LICENSE"),
        "snapshot": f"genai-prices {VERSION} {RELEASED}",
        "providers": {provider.id: compiler.provider(provider) for provider in providers},
    }
    return render(document), compiler


def main() -> None:
    text, compiler = compile_prices()
    OUTPUT.write_text(text, encoding="utf-8")
    age_days = (datetime.now(UTC).date() - RELEASED).days
    print(f"{OUTPUT.name}: {len(text.encode()) // 1024} KB, data {age_days} days old")
    print(f"{compiler.rounded} prices rounded half even to a nano-dollar per million tokens")
    print(f"{len(compiler.unstated)} models without a price we can state:", file=sys.stderr)
    for name in compiler.unstated:
        print(f"  {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
