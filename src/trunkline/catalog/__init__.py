"""Who can be asked, and for how much: providers and prices, as data.

`providers.toml` has one row per provider; a provider that speaks a known dialect is one more row
and no Python. `prices.json` is compiled from published price data.
"""

from trunkline.catalog.providers import ProviderRow, parse, row, rows

__all__ = ["ProviderRow", "parse", "row", "rows"]
