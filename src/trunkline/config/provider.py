"""Who can be asked: a provider as the configuration has it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from trunkline.types import Deployment, Limits, Need, Price, RateLimit

SERVICE_TIERS = ("batch", "fast", "flex", "priority", "scale", "ultrafast")
"""Service tiers that may have a price of their own."""
_FREE = Price(input_nusd=0, output_nusd=0, web_search_nusd=0, snapshot="local")
FREE = replace(_FREE, service_tiers=tuple((name, _FREE) for name in SERVICE_TIERS))

Api = Literal["chat", "responses"]
"""OpenAI's two APIs for chats."""


class Abilities(Struct, frozen=True, kw_only=True):
    """What a configuration says that a model can do; None = it does not say."""

    lacks: frozenset[Need] = frozenset()
    """Beside what all models of the provider lack."""
    context_window: int | None = None
    max_output: int | None = None

    def of(self, row: Deployment) -> Deployment:
        """Return `row` with these abilities."""
        return replace(
            row,
            lacks=row.lacks | self.lacks,
            context_window=self.context_window or row.context_window,
            max_output=self.max_output or row.max_output,
        )


class Provider(Struct, frozen=True, kw_only=True):
    """A configured provider: somebody who can be asked for any model by name."""

    name: str
    type: str
    """The catalog row, or the registered name, that it was made from."""
    template: Deployment
    """What all its deployments have in common; its `model` is empty."""
    models: tuple[str, ...] = ()
    """The models it lists, in the order of the configuration."""
    wire_models: dict[str, str] = {}
    """Models -> what this account calls them."""
    any_model: bool = False
    """True = it takes other names as well, although it lists some."""
    prices: dict[str, Price] = {}
    """Prices the configuration gives; they win over the price data."""
    rates: dict[str, RateLimit] = {}
    """Limits of single models; those of the provider are the template's."""
    abilities: dict[str, Abilities] = {}
    """Of single models; they count for more than the price data's."""
    local: bool = False
    """True = what it answers costs nothing."""
    vendor_prefixes: bool = False
    """True = its own model names may contain `/`."""
    text_models: tuple[str, ...] = ()
    """Models, as shell patterns, that also take text completions."""
    responses_models: tuple[str, ...] = ()
    """Models, as shell patterns, that are asked through OpenAI's Responses API whatever callers
    speak; a pattern that begins with `!` names exceptions."""
    responses: bool = False
    """True = callers who speak that API are answered by its own."""
    api: Api | None = None
    """Which API the configuration chose for all its models; None = each as it needs."""
    apis: dict[str, Api] = {}
    """The same for single models, which counts more."""
    dialects: dict[str, str] = {}
    """Models, as shell patterns -> the wire format they speak, where it is not the usual one."""
    embeddings: str = ""
    """The wire format in which it is asked for embeddings; "" = it has none."""
    counting: str = ""
    """The wire format in which it counts tokens; "" = it does not."""
    loaded: bool = False
    """True = one of the user's own that was named, so its package may be loaded to look at it."""
    usual_model: str = ""
    """What to ask it for when no model was named and it lists none; "" = nobody knows."""

    @property
    def limits(self) -> Limits:
        """Time-outs and caps, the same for each of its deployments."""
        return self.template.limits

    @property
    def open(self) -> bool:
        """Tell whether a name that it does not list may be meant for it."""
        return self.any_model or not self.models

    @property
    def names(self) -> tuple[str, ...]:
        """What callers may say for its models: the listed ones, else the usual one."""
        usual = (f"{self.name}/{self.usual_model}",) if self.usual_model else ()
        return self.models or usual

    def deployment(self, model: str, at_ns: int | None = None) -> Deployment:
        """Return the row that answers `model`, priced as of `at_ns` (now if None)."""
        row = replace(
            self.template,
            model=model,
            wire_model=self.wire_models.get(model, ""),
            price=self.price(model, at_ns),
            context_window=self._context_window(model),
        )
        if abilities := self.abilities.get(model):
            row = abilities.of(row)
        own = self.rates.get(model)
        return replace(row, rates=(*row.rates, own)) if own else row

    def _context_window(self, model: str) -> int | None:
        if self.local or self.template.backend != "http":
            return None
        from trunkline.catalog.prices import context_tokens

        return context_tokens(self.type, model)

    def dialect(self, model: str, spoken: str | None, kind: str = "chat") -> str:
        """Return the wire format in which to ask `model` for a caller whose own is `spoken`.

        `kind` is that of the call. "" = the provider takes no such calls.
        """
        if kind == "embed":
            return self.embeddings
        if kind == "count_tokens":
            own = any(fnmatchcase(model, pattern) for pattern in self.dialects)
            return "" if own else self.counting
        if spoken == "openai_text" and any(fnmatchcase(model, p) for p in self.text_models):
            return spoken
        for pattern, dialect in self.dialects.items():
            if fnmatchcase(model, pattern):
                return dialect
        if self._api(model, spoken) == "responses":
            return "openai_responses"
        if self.apis.get(model, self.api) == "chat":
            return "openai_chat"
        return self.template.dialect

    def _api(self, model: str, spoken: str | None) -> Api:
        if (chosen := self.apis.get(model, self.api)) is not None:
            return chosen
        if self.responses and spoken == "openai_responses":
            return "responses"
        fitting = [p for p in self.responses_models if fnmatchcase(model, p.removeprefix("!"))]
        needed = bool(fitting) and not any(pattern.startswith("!") for pattern in fitting)
        return "responses" if needed else "chat"

    def price(self, model: str, at_ns: int | None = None) -> Price | None:
        """Return what `model` costs as of `at_ns`; None = not known."""
        if model in self.prices:
            return self.prices[model]
        if self.local:
            return FREE
        from trunkline.catalog.prices import lookup

        return lookup(self.type, model, at_ns)
