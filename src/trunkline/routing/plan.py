"""From the name a caller gave to the deployments to try, in order.

A name is, in this order: an alias, a group, `provider/model` if that provider is configured, a
model that a provider lists, else anything the default provider may know. What comes after the
first deployment is the way to go when it fails: the rest of the group and its fallbacks, or the
rest of `fallback_chain`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from trunkline.catalog import row
from trunkline.clock import Clock, SystemClock
from trunkline.config import Config, Provider
from trunkline.config.node import near
from trunkline.errors import CapabilityMissing, InputError, ModelNotFound
from trunkline.routing.candidate import Candidate, fitting
from trunkline.types import AnyPart, Audio, Call, Chat, Deployment, File, Image, ToolResult, Wire

_MEDIA: dict[str, type] = {"audio": Audio, "images": Image, "files": File}
_MINUTE_NS = 60_000_000_000
_CACHED_PLANS = 4096


class Planner:
    """Makes plans for one configuration and remembers them.

    A plan is good for a minute, because some prices change with the hour of the day.
    """

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        self._now_ns = (clock or SystemClock()).now_ns
        self._minute = -1
        self._plans: dict[tuple[str | None, str, str | None, str], tuple[Candidate, ...]] = {}

    def plan(self, call: Call) -> tuple[Candidate, ...]:
        """Return whom to ask, best first; there is at least one.

        Raises:
            ModelNotFound: nobody answers to that name; the message lists near ones.
            CapabilityMissing: nobody there can take a part of what is asked, which is named.
            InputError: the provider is not configured, or contradicts the model.
        """
        now_ns = self._now_ns()
        if (minute := now_ns // _MINUTE_NS) != self._minute or len(self._plans) >= _CACHED_PLANS:
            self._plans.clear()
            self._minute = minute
        spoken = call.body.dialect if isinstance(call.body, Wire) else None
        key = (call.provider, call.model, spoken, call.kind)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = fitting(
                call.kind,
                tuple(
                    Candidate(self._aimed(each.deployment, spoken, call.kind, now_ns), each.note)
                    for each in self._candidates(call.provider, call.model)
                ),
            )
        return _able(plan, call) if isinstance(call, Chat) and call.body.needs else plan

    def _aimed(
        self, deployment: Deployment, spoken: str | None, kind: str, now_ns: int
    ) -> Deployment:
        """Return a deployment at its present price, to be asked in the caller's way if it can."""
        provider, model = self._config.providers[deployment.provider], deployment.model
        price = deployment.price
        if price is None or not price.configured:
            price = provider.price(model, now_ns)
        return replace(deployment, dialect=provider.dialect(model, spoken, kind), price=price)

    def _candidates(self, provider_name: str | None, model: str) -> Iterator[Candidate]:
        config = self._config
        if provider_name is not None:
            provider = self._provider(provider_name)
            return self._along_chain(provider, model or self._usual_model(provider))
        model = model or self._default_model()
        while model in config.aliases:
            model = config.aliases[model]
        if model in config.groups:
            return self._of_group(model)
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
        config, known = self._config, row(name)
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

    def _of_group(self, name: str) -> Iterator[Candidate]:
        """Return the deployments of a group, then those of its fallbacks, each once."""
        seen: dict[str, Candidate] = {}
        visited: set[str] = set()
        waiting = [name]
        while waiting:
            group = self._config.groups[waiting.pop()]
            if group.name in visited:
                continue
            visited.add(group.name)
            note = None if group.name == name else f"group {group.name} instead of {name}"
            for deployment in group.deployments:
                seen.setdefault(deployment.name, Candidate(deployment, note))
            waiting += reversed(group.fallbacks)
        if not seen:
            reasons = "; ".join(f"{key}: {why}" for key, why in self._config.disabled.items())
            raise ModelNotFound(
                f"every provider of group {name!r} is disabled ({reasons})", param="model"
            )
        return iter(seen.values())


def _able(plan: tuple[Candidate, ...], call: Chat) -> tuple[Candidate, ...]:
    """Return those who can take all that is asked."""
    able = tuple(candidate for candidate in plan if not _lacked(candidate.deployment, call))
    if able:
        return able
    place = _lacked(plan[0].deployment, call)
    names = ", ".join(candidate.deployment.name for candidate in plan)
    raise CapabilityMissing(
        f"'{place}' is nothing that {names} can take; leave it out, or ask another model",
        param=place,
    )


def _lacked(deployment: Deployment, call: Chat) -> str:
    """Return where the first thing stands that `deployment` cannot take; "" = nowhere."""
    missing = deployment.lacks & call.body.needs
    if "tools" in missing:
        return "tools"
    lacks = tuple(_MEDIA[need] for need in missing)
    for i, message in enumerate(call.prompt.messages if lacks else ()):
        for j, part in enumerate(message.parts):
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            if any(isinstance(each, lacks) and not _spoken(each) for each in inner):
                return f"messages[{i}].content[{j}]"
    return ""


def _spoken(part: AnyPart) -> bool:
    """Whether it is an earlier answer, which has its words beside it."""
    return isinstance(part, Audio) and bool(part.id or part.transcript)
