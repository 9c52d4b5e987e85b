"""LiteLLM's form: `model_list`, whose entries of the same `model_name` make one group.

Source: https://docs.litellm.ai/docs/routing, 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from trunkline.config.groups import in_order, read_strategy
from trunkline.config.model import Group, Provider, Strategy
from trunkline.config.node import Node
from trunkline.config.providers import Draft, known_row
from trunkline.errors import ConfigError
from trunkline.types import Deployment

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
_LATER_PARAMS = (
    "rpm", "tpm", "weight", "max_parallel_requests", "stream_timeout", "max_retries", "num_retries",
    "input_cost_per_token", "output_cost_per_token", "extra_headers", "organization",
    "custom_llm_provider", "region_name", "aws_access_key_id", "aws_secret_access_key",
)  # fmt: skip
SETTINGS = ("fallbacks", "num_retries", "routing_strategy")
_ALWAYS = {"drop_params": True, "set_verbose": False}
"""Settings that cannot be changed here, and what they always are."""
_LATER_SETTINGS = (
    "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "retry_policy",
    "cache", "cache_params", "callbacks", "success_callback", "failure_callback", "timeout",
    "request_timeout", "allowed_fails", "cooldown_time", "model_group_alias", "redis_host",
    "redis_port", "redis_password", "enable_pre_call_checks",
)  # fmt: skip


class Entry(Struct, kw_only=True):
    """One deployment of a group."""

    name: str
    provider: str
    model: str
    priority: int


class ModelList(Struct, kw_only=True):
    """The list as drafts of providers, and the groups that follow once those are made."""

    drafts: dict[str, Draft] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    fallbacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fallbacks_node: Node | None = None
    """Where `fallbacks` stands."""
    retries: int = 2
    strategy: Strategy = "priority"
    default_provider: str | None = None
    """The one that takes any name, when `model_name: "*"` says so."""

    def groups(self, providers: Mapping[str, Provider]) -> dict[str, Group]:
        """Return the groups; a deployment whose provider is disabled is left out."""
        ranked: dict[str, list[tuple[int, Deployment | None]]] = {}
        for entry in self.entries:
            rows = ranked.setdefault(entry.name, [])
            if entry.provider in providers:
                row = providers[entry.provider].deployment(entry.model)
                rows.append((entry.priority, replace(row, retries=self.retries)))
        return {
            name: Group(
                name=name,
                deployments=in_order(rows),
                fallbacks=self.fallbacks.get(name, ()),
                retries=self.retries,
                strategy=self.strategy,
            )
            for name, rows in ranked.items()
        }


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
    if "fallbacks" in settings:
        result.fallbacks_node = settings["fallbacks"]
        result.fallbacks = _fallbacks(settings["fallbacks"], {e.name for e in result.entries})
    return result


def _take(item: Node, result: ModelList, identities: dict[Any, str]) -> None:
    """Take one entry; entries that reach the same place in the same way share a provider."""
    fields = item.mapping(_ENTRY_KEYS, _LATER_ENTRY_KEYS)
    if fields.keys() != set(_ENTRY_KEYS):
        raise item.fault("write both model_name and litellm_params")
    params = fields["litellm_params"].mapping((*_PARAMS, "model", "order"), _LATER_PARAMS)
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
    priority = params["order"].whole(0) if "order" in params else 0
    result.entries.append(
        Entry(name=fields["model_name"].text(), provider=draft.name, model=model, priority=priority)
    )


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
    fallbacks: dict[str, tuple[str, ...]] = {}
    for item in node.items():
        for name, targets in item.entries().items():
            if name not in groups:
                raise targets.fault(
                    f"no model_name is {name!r}; write one of {', '.join(sorted(groups))}"
                )
            fallbacks[name] = fallbacks.get(name, ()) + targets.texts()
    return fallbacks
