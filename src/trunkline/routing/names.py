"""From the name a caller gave to the deployments that it stands for.

A name is, in this order: an alias, a group, `provider/model` if that provider is configured, a
model that a provider lists, else anything the default provider may know. What comes after the
first deployment is the way to go when it fails: the rest of the group and its fallbacks, or the
rest of `fallback_chain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from trunkline import catalog
from trunkline.config import Config, Provider
from trunkline.config.model import Group, Strategy
from trunkline.config.node import near
from trunkline.errors import InputError, ModelNotFound
from trunkline.types import Deployment


class Candidate(Struct, frozen=True):
    """A deployment to try."""

    deployment: Deployment
    note: str | None = None
    """What is different from what was asked for, naming both; None = nothing."""
    reason: str = ""
    """Why it stands where it does; "" = it is simply the next."""


class Leg(Struct, frozen=True):
    """Deployments among which one way of choosing counts: a group, or a chain."""

    candidates: tuple[Candidate, ...]
    strategy: Strategy = "priority"
    tiers: tuple[int, ...] = ()
    """One for each candidate; empty = all the same."""


class Names:
    """The names of one configuration and what they lead to."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def meant(self, provider: str | None, model: str) -> tuple[Group | None, tuple[Leg, ...]]:
        """Return the group that is meant, if it is one, and the legs of the way, in order.

        Raises:
            ModelNotFound: nobody answers to that name; the message lists near ones.
            InputError: the provider is not configured, or contradicts the model.
        """
        config = self._config
        if provider is None:
            model = model or self._default_model()
            while model in config.aliases:
                model = config.aliases[model]
            if model in config.groups:
                legs = self.along(model, (model,), ("fallbacks",))
                if not legs:
                    reasons = "; ".join(f"{name}: {why}" for name, why in config.disabled.items())
                    raise ModelNotFound(
                        f"every provider of group {model!r} is disabled ({reasons})", param="model"
                    )
                return config.groups[model], legs
        return None, (Leg(tuple(self._one(provider, model))),)

    def along(self, asked: str, groups: Iterable[str], kinds: Iterable[str]) -> tuple[Leg, ...]:
        """Return the legs of `groups` and of where they lead, depth first, each deployment once.

        Args:
            asked: the group that the caller named.
            kinds: the fields of `Group` whose groups are followed.
        """
        kinds, seen = tuple(kinds), set[str]()
        visited: set[str] = set()
        waiting = [*reversed(tuple(groups))]
        legs = []
        while waiting:
            group = self._config.groups[waiting.pop()]
            if group.name in visited:
                continue
            visited.add(group.name)
            note = None if group.name == asked else f"group {group.name} instead of {asked}"
            tiers = group.tiers or (0,) * len(group.deployments)
            here: dict[str, tuple[Candidate, int]] = {}
            for row, tier in zip(group.deployments, tiers, strict=True):
                if row.name not in seen:
                    here.setdefault(row.name, (Candidate(row, note), tier))
            seen |= here.keys()
            if here:
                candidates, own_tiers = zip(*here.values(), strict=True)
                legs.append(Leg(candidates, group.strategy, own_tiers))
            for kind in reversed(kinds):
                waiting += reversed(getattr(group, kind))
        return tuple(legs)

    def _one(self, provider_name: str | None, model: str) -> Iterator[Candidate]:
        config = self._config
        if provider_name is not None:
            provider = self._provider(provider_name)
            return self._along_chain(provider, model or self._usual_model(provider))
        prefix, _, rest = model.partition("/")
        if rest and (prefix in config.providers or prefix in config.disabled):
            return self._along_chain(self._provider(prefix), model)
        return self._along_chain(self._who_has(model), model)

    def _provider(self, name: str) -> Provider:
        config = self._config
        if name in config.providers:
            return config.providers[name]
        if name in config.disabled:
            why = f"is disabled: {config.disabled[name]}"
        else:
            known = ", ".join(config.providers)
            why = f"is not configured; {self._remedy(name)}configured: {known}"
        raise InputError(f"provider {name[:99]!r} {why}", param="provider")

    def _remedy(self, name: str) -> str:
        """Say how a provider that we know would be configured, else what may have been meant."""
        config, known = self._config, catalog.row(name)
        if known is None:
            return near(name[:99], config.providers)
        if known.name in config.providers:
            return f"it is called {known.name!r} here; "
        if config.source != "environment":
            return f"add it to the providers in {config.source}; "
        variables = (known.url_variable,) if known.key_optional else known.key_variables
        return f"set {' or '.join(filter(None, variables)) or f'LLM_PROVIDER={known.name}'}; "

    def _usual_model(self, provider: Provider) -> str:
        """Return what to ask `provider` for when the caller named no model."""
        config = self._config
        model = config.default_model
        taken = {*config.groups, *config.aliases}
        if model and provider.name == config.default_provider and model not in taken:
            return model
        if provider.models:
            return provider.models[0]
        if provider.usual_model:
            return provider.usual_model
        if provider.template.backend != "http":
            return provider.name  # what answers in this process may need no model's name
        raise InputError(
            f"no model was named and provider {provider.name!r} lists none; "
            "name one, or set default_model (LLM_DEFAULT_MODEL)",
            param="model",
        )

    def _default_model(self) -> str:
        config = self._config
        if config.default_model:
            return config.default_model
        if config.default_provider is None:
            raise InputError(
                "no model was named; name one, or set default_model (LLM_DEFAULT_MODEL)",
                param="model",
            )
        provider = self._provider(config.default_provider)
        return f"{provider.name}/{self._usual_model(provider)}"

    def _who_has(self, model: str) -> Provider:
        """Return the first provider of the chain that lists `model`, else the default one."""
        config = self._config
        chain = [*config.fallback_chain, config.default_provider]
        listing = [provider for provider in config.providers.values() if model in provider.models]
        if listing:
            return min(
                listing, key=lambda p: chain.index(p.name) if p.name in chain else len(chain)
            )
        default = config.providers.get(config.default_provider or "")
        if default is not None and default.open:
            return default
        known = [*config.aliases, *config.groups]
        known += [name for provider in config.providers.values() for name in provider.models]
        disabled = "".join(f"; {name} is disabled: {why}" for name, why in config.disabled.items())
        raise ModelNotFound(
            f"no model is called {model[:99]!r}; {near(model[:99], known)}"
            f"there are {len(known)} names{disabled}",
            param="model",
        )

    def _along_chain(self, first: Provider, model: str) -> Iterator[Candidate]:
        """Ask `first`, then the providers after it in the chain for what comes nearest."""
        config = self._config
        model = self._own_name(first, model)
        yield Candidate(first.deployment(model))
        if first.name not in config.fallback_chain:
            return
        for name in config.fallback_chain[config.fallback_chain.index(first.name) + 1 :]:
            if (provider := config.providers.get(name)) is None:
                continue
            mapped = config.model_map.get(model, {}).get(name)
            if mapped is not None:
                note = f"model_map: {mapped} of {name} instead of {model}"
                yield Candidate(provider.deployment(mapped), note if mapped != model else None)
            elif model in provider.models:
                yield Candidate(provider.deployment(model))
            elif provider.models:
                note = f"first listed model {provider.models[0]} of {name} instead of {model}"
                yield Candidate(provider.deployment(provider.models[0]), note)

    def _own_name(self, provider: Provider, model: str) -> str:
        """Return `model` as `provider` knows it: without the provider's own name before it."""
        prefix, _, rest = model.partition("/")
        if not rest or model in provider.models:
            return model
        if prefix == provider.name:
            return rest
        if not provider.vendor_prefixes and prefix in self._config.providers:
            raise InputError(
                f"model {model[:99]!r} belongs to provider {prefix!r}, but {provider.name!r} was "
                f"named; leave out the provider, or the '{prefix}/'",
                param="model",
            )
        return model
