"""The provider rows: read from `providers.toml` on first use."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from trunkline.types import Limits


class ProviderRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known about a provider before anybody configures it."""

    name: str
    dialect: str = "openai_chat"
    backend: str = "http"
    """`http`, or the name of a backend that answers inside this process."""
    base_url: str = ""
    """"" = there is no usual address: a configuration must give one."""
    path: str = ""
    """See `usual_path`."""
    key_variables: tuple[str, ...] = ()
    """Environment variables with the credential, the first that is set counts."""
    url_variable: str = ""
    key_shared: bool = False
    """True = the variable of its credential is set for other ends too; alone it means nothing."""
    hosts: tuple[str, ...] = ()
    """Domains of the provider itself, where each customer has another host below them."""
    key_optional: bool = False
    """True = answers without a credential, or takes any."""
    local: bool = False
    """True = runs on the user's own machines: its price is 0, not unknown."""
    vendor_prefixes: bool = False
    """True = its own model names may contain `/`, as in `meta-llama/llama-4`."""
    text_models: tuple[str, ...] = ()
    """Models, as shell patterns, that also take text completions at `/completions`."""
    responses: bool = False
    """True = has OpenAI's Responses API too, at `/responses`, for callers who speak it."""
    responses_models: tuple[str, ...] = ()
    """Models, as shell patterns, that are always asked there; `!` before one names exceptions."""
    dialects: dict[str, str] = {}
    """Models, as shell patterns -> the wire format they speak, where it is not `dialect`."""
    embeddings: str = ""
    """The wire format in which it is asked for embeddings; "" = it has none."""
    counting: str = ""
    """The wire format in which it counts tokens for models of its usual one; "" = it does not."""
    usual_model: str = ""
    """What it is asked for when nobody named or listed a model: cheap, current, for any purpose."""
    models_source: str = ""
    """The URL of the page that has `usual_model`."""
    quirks: frozenset[str] = frozenset()
    """Names the dialect knows."""
    lacks: frozenset[Literal["audio", "images", "files", "tools"]] = frozenset()
    """What no model of it takes: in a message, or tools."""
    limits: Limits = Limits()
    also: tuple[str, ...] = ()
    """Other names under which tools of the field know this provider."""
    source: str
    """What the row was written from: the URL of a documentation, or a module of ours."""
    checked: datetime.date

    @property
    def usual_path(self) -> str:
        """The path of a base URL that was given without one."""
        return self.path or urlsplit(self.base_url).path


def parse(text: str) -> dict[str, ProviderRow]:
    """Read rows written as TOML tables; the order of the file is kept."""
    import tomllib

    tables = tomllib.loads(text)
    return {
        name: msgspec.convert({"name": name, **table}, ProviderRow)
        for name, table in tables.items()
    }


@cache
def rows() -> Mapping[str, ProviderRow]:
    """Return every row by name, in the order in which a default provider is looked for."""
    return parse(Path(__file__).with_name("providers.toml").read_text("utf-8"))


def row(name: str) -> ProviderRow | None:
    """Return the row called `name`, or known under it elsewhere."""
    table = rows()
    return table.get(name) or next((r for r in table.values() if name in r.also), None)
