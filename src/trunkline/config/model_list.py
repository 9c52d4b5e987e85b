"""LiteLLM's form: `model_list`, whose entries of the same `model_name` make one group.

Source: https://docs.litellm.ai/docs/routing, 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from trunkline.config.fallbacks import resolved
from trunkline.config.groups import Ranked, in_order, read_aliases, read_strategy, read_weight
from trunkline.config.model import Group, Strategy
from trunkline.config.node import Node
from trunkline.config.provider import Provider
from trunkline.config.providers import Draft, known_row
from trunkline.errors import ConfigError
from trunkline.types import RateLimit

_ENTRY_KEYS = ("model_name", "litellm_params")
_LATER_ENTRY_KEYS = ("model_info",)
_PARAMS = {
    "api_key": "api_key",
    "api_base": "base_url",
    "base_url": "base_url",
    "api_version": "api_version",
    "timeout": "timeout",
    "vertex_project": "project",
    "vertex_location": "location",
    "vertex_credentials": "credentials_file",
    "aws_region_name": "region",
    "aws_profile_name": "profile",
}
_OWN_PARAMS = ("order", "weight", "rpm", "tpm", "max_parallel_requests")
_LATER_PARAMS = (
    "stream_timeout", "max_retries", "num_retries",
    "input_cost_per_token", "output_cost_per_token", "extra_headers", "organization",
    "custom_llm_provider", "region_name", "aws_access_key_id", "aws_secret_access_key",
)  # fmt: skip
_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
SETTINGS = (
    *_FALLBACKS, "default_fallbacks", "model_group_alias", "num_retries", "routing_strategy",
)  # fmt: skip
_ALWAYS = {"drop_params": True, "set_verbose": False, "enable_pre_call_checks": True}
"""Settings that cannot be changed here, and what they always are."""
_LATER_SETTINGS = (
    "retry_policy",
    "cache", "cache_params", "callbacks", "success_callback", "failure_callback", "timeout",
    "request_timeout", "allowed_fails", "cooldown_time", "redis_host",
    "redis_port", "redis_password",
)  # fmt: skip


class Entry(Struct, kw_only=True):
    """One deployment of a group."""

    name: str
    provider: str
    model: str
    params: dict[str, Node]

    def ranked(self, provider: Provider, retries: int) -> Ranked:
        """Return the deployment and its priority."""
        params = self.params
        row = replace(provider.deployment(self.model), retries=retries)
        if "weight" in params:
            row = replace(row, weight=read_weight(params["weight"]))
        if "max_parallel_requests" in params:
            limits = replace(row.limits, max_parallel=params["max_parallel_requests"].whole(1))
            row = replace(row, limits=limits)
        said = {
            field: params[key].whole(1)
            for key, field in (("rpm", "requests_per_minute"), ("tpm", "tokens_per_minute"))
            if key in params
        }
        if said:
            limit = RateLimit(scope=f"deployment:{row.name}@{self.name}", **said)
            row = replace(row, rates=(*row.rates, limit))
        return params["order"].whole(0) if "order" in params else 0, row


class ModelList(Struct, kw_only=True):
    """The list as drafts of providers, and the groups that follow once those are made."""

    drafts: dict[str, Draft] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    fallbacks: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """By kind, then by group."""
    nodes: dict[str, Node] = field(default_factory=dict)
    """Where each kind of fallbacks stands."""
    default_fallbacks: tuple[str, ...] = ()
    """Of every group that has no fallbacks, and is none of these."""
    aliases: dict[str, str] = field(default_factory=dict)
    retries: int = 2
    strategy: Strategy = "priority"
    default_provider: str | None = None
    """The one that takes any name, when `model_name: "*"` says so."""

    def groups(
        self, providers: Mapping[str, Provider], aliases: Mapping[str, str]
    ) -> dict[str, Group]:
        """Return the groups; a deployment whose provider is disabled is left out."""
        ranked: dict[str, list[Ranked]] = {}
        for entry in self.entries:
            rows = ranked.setdefault(entry.name, [])
            if entry.provider in providers:
                rows.append(entry.ranked(providers[entry.provider], self.retries))
        own = self.fallbacks.setdefault("fallbacks", {})
        last = {resolved(target, ranked, aliases) for target in self.default_fallbacks}
        for name in ranked.keys() - own.keys() - last:
            own[name] = self.default_fallbacks
        return {name: self._group(name, rows) for name, rows in ranked.items()}

    def _group(self, name: str, ranked: list[Ranked]) -> Group:
        rows, tiers = in_order(ranked)
        ways: dict[str, Any] = {k: targets.get(name, ()) for k, targets in self.fallbacks.items()}
        return Group(
            name=name,
            deployments=rows,
            tiers=tiers,
            retries=self.retries,
            strategy=self.strategy,
            **ways,
        )


def read(top: Mapping[str, Node]) -> ModelList:
    """Take `model_list` and the settings around it."""
    result = ModelList()
    identities: dict[Any, str] = {}
    for item in top["model_list"].items():
        _take(item, result, identities)
    settings = _settings(top)
    if "num_retries" in settings:
        result.retries = settings["num_retries"].whole(0)
    if "routing_strategy" in settings:
        result.strategy = read_strategy(settings["routing_strategy"])
    if "model_group_alias" in settings:
        result.aliases = read_aliases(settings["model_group_alias"])
    names = {entry.name for entry in result.entries}
    for kind in _FALLBACKS:
        if kind in settings:
            result.nodes[kind] = settings[kind]
            result.fallbacks[kind] = _fallbacks(settings[kind], names)
    if "default_fallbacks" in settings:
        result.default_fallbacks = settings["default_fallbacks"].texts()
        result.nodes.setdefault("fallbacks", settings["default_fallbacks"])
    return result


def _take(item: Node, result: ModelList, identities: dict[Any, str]) -> None:
    """Take one entry; entries that reach the same place in the same way share a provider."""
    fields = item.mapping(_ENTRY_KEYS, _LATER_ENTRY_KEYS)
    if fields.keys() != set(_ENTRY_KEYS):
        raise item.fault("write both model_name and litellm_params")
    params = fields["litellm_params"].mapping((*_PARAMS, *_OWN_PARAMS, "model"), _LATER_PARAMS)
    if "model" not in params:
        raise fields["litellm_params"].fault("write its model, as in {model: openai/gpt-4o}")
    kind, slash, model = params["model"].text().partition("/")
    if not slash or not model:
        raise params["model"].fault("write the provider first, as in openai/gpt-4o")
    row = known_row(params["model"].child("provider", kind))
    mapped = {_PARAMS[key]: node for key, node in params.items() if key in _PARAMS}
    identity = (row.name, *sorted((key, str(node.value)) for key, node in mapped.items()))
    if identity not in identities:
        number = sum(draft.row.name == row.name for draft in result.drafts.values()) + 1
        provider = row.name if number == 1 else f"{row.name}-{number}"
        identities[identity] = provider
        result.drafts[provider] = Draft(
            name=provider, row=row, node=fields["litellm_params"], fields=mapped
        )
    draft = result.drafts[identities[identity]]
    if model == "*":
        _open(fields["model_name"], draft, result)
        return
    if model not in draft.models:
        draft.models += (model,)
    own = {key: node for key, node in params.items() if key in _OWN_PARAMS}
    name = fields["model_name"].text()
    result.entries.append(Entry(name=name, provider=draft.name, model=model, params=own))


def _open(name: Node, draft: Draft, result: ModelList) -> None:
    """Let a provider take any model: `openai/*` under its own name, or `*` for every name."""
    own = f"{draft.name}/*"
    if name.text() == "*" and result.default_provider is None:
        result.default_provider = draft.name
    elif name.text() != own:
        raise name.fault(f"for any model write {own} here, or once in the list *")
    draft.any_model = True


def _settings(top: Mapping[str, Node]) -> dict[str, Node]:
    """Gather the settings from the three places where they may stand."""
    found = {key: node for key, node in top.items() if key in SETTINGS}
    for section in ("litellm_settings", "router_settings"):
        if section not in top:
            continue
        for key, node in top[section].mapping((*SETTINGS, *_ALWAYS), _LATER_SETTINGS).items():
            if key in _ALWAYS:
                if node.value is not _ALWAYS[key]:
                    raise node.fault(f"it is always {str(_ALWAYS[key]).lower()} here; remove it")
            elif key in found:
                raise ConfigError(f"{node.where}: {found[key].path} says it already; remove one")
            else:
                found[key] = node
    return found


def _fallbacks(node: Node, groups: set[str]) -> dict[str, tuple[str, ...]]:
    """Take `[{quality: [fast]}, ...]`."""
    found: dict[str, tuple[str, ...]] = {}
    for item in node.items():
        for name, targets in item.entries().items():
            if name not in groups:
                raise targets.fault(
                    f"no model_name is {name!r}; write one of {', '.join(sorted(groups))}"
                )
            found[name] = found.get(name, ()) + targets.texts()
    return found
