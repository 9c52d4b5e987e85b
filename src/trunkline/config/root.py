"""The whole of a configuration: its sections, brought together and checked against each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trunkline.catalog import rows
from trunkline.config import (
    budgets,
    custom,
    fallbacks,
    groups,
    keys,
    model_list,
    providers,
    rate_limits,
    server,
    storage,
    webhooks,
)
from trunkline.config.environment import Environment
from trunkline.config.model import Config, Group
from trunkline.config.node import Node, near
from trunkline.config.provider import Provider
from trunkline.config.providers import Draft
from trunkline.errors import ConfigError
from trunkline.interfaces import is_loaded

_ROOT = "llm_service"
_KEYS = (
    "default_provider", "default_model", "fallback_chain", "model_map", "providers", "groups",
    "aliases", "budgets", "rate_limits", "keys", "webhooks", "server", "storage",
)  # fmt: skip
_LATER_KEYS = ("cache", "agents")
_LISTED_KEYS = ("litellm_settings", "router_settings", *model_list.SETTINGS)
_LATER_TOP_KEYS = ("general_settings", "environment_variables")


def read(data: Any, environment: Environment, source: str, warnings: list[str]) -> Config:
    """Read every section and add to `warnings`.

    Raises:
        ConfigError: with the file, the path of the key, what stands there and what to write.
    """
    top = _top(Node(data, "", source, environment))
    root = top[_ROOT]
    fields = root.mapping(_KEYS, _LATER_KEYS)
    listed = model_list.read(top) if "model_list" in top else model_list.ModelList()
    written = _written(fields.get("providers"), listed)
    drafts = _with_custom(written or _from_environment(root, warnings), root)
    node = _preferred(fields.get("default_provider"), "LLM_PROVIDER", root, warnings)
    if node is not None:
        default: str | None = _configured(node, drafts)
    elif listed.default_provider is not None:
        default = listed.default_provider
    else:
        default = next(iter(drafts)) if len(written) < 2 else None
    made, disabled = _made(drafts, default, warnings)
    model = _preferred(fields.get("default_model"), "LLM_DEFAULT_MODEL", root, warnings)
    aliases = listed.aliases
    if "aliases" in fields:
        aliases = groups.read_aliases(fields["aliases"], aliases)
    declared, rules = keys.read_keys(fields.get("keys"), drafts)
    return Config(
        default_provider=default,
        default_model=None if model is None else model.text(),
        fallback_chain=_chain(fields.get("fallback_chain"), drafts),
        model_map=_model_map(fields.get("model_map"), drafts),
        providers=made,
        disabled=disabled,
        groups=_groups(fields.get("groups"), listed, groups.Known(made, disabled), aliases),
        aliases=aliases,
        budgets=rules
        + tuple(
            budgets.native(item, drafts)
            for item in (fields["budgets"].items() if "budgets" in fields else ())
        ),
        rates=rate_limits.read(fields.get("rate_limits")),
        keys=declared,
        webhooks=webhooks.read(fields.get("webhooks")),
        server=server.read_server(fields.get("server")),
        storage=storage.read(fields.get("storage"), root),
        data_dir=Path(environment.get("TRUNKLINE_DATA") or "~/.trunkline").expanduser().absolute(),
        warnings=tuple(warnings),
        source=source,
    )


def _top(node: Node) -> dict[str, Node]:
    """Return the sections at the top; `llm_service` is always among them."""
    for key, child in node.entries().items():
        if key in _KEYS:
            raise ConfigError(f"{child.where}: put it under '{_ROOT}:'")
    sections = node.mapping((_ROOT, "model_list", *_LISTED_KEYS), _LATER_TOP_KEYS)
    for key in _LISTED_KEYS:
        if key in sections and "model_list" not in sections:
            raise ConfigError(
                f"{sections[key].where}: it belongs to a model_list, and there is none; "
                f"remove it, or write groups under '{_ROOT}:'"
            )
    return {_ROOT: node.child(_ROOT, None), **sections}


def _written(node: Node | None, listed: model_list.ModelList) -> dict[str, Draft]:
    """Return the providers that the file describes."""
    drafts = dict(listed.drafts)
    for name, child in (node.entries() if node else {}).items():
        if name in drafts:
            raise ConfigError(f"{child.where}: model_list has a provider {name!r}; rename this one")
        drafts[name] = providers.native(name, child)
    return drafts


def _from_environment(root: Node, warnings: list[str]) -> dict[str, Draft]:
    """Return a provider for each credential or address that is set, LLM_PROVIDER's first.

    A variable that LLM_PROVIDER's provider takes as its key configures no other one: with
    `openai_compatible`, OPENAI_API_KEY is often a dummy.
    """
    environment = root.environment
    found = {}
    if name := environment.get("LLM_PROVIDER"):
        found[name] = providers.known_row(_variable("LLM_PROVIDER", name, root))
    taken = {variable for row in found.values() for variable in row.key_variables}
    for row in rows().values():
        needed = (row.url_variable,) if row.key_optional else row.key_variables
        if row.key_shared or row in found.values():
            continue
        if environment.first(set(needed) - taken - {""}):
            found[row.name] = row
    if environment.get("LLM_BASE_URL") and next(iter(found)) != "openai_compatible":
        warnings.append(
            f"LLM_BASE_URL has no effect on the default provider {next(iter(found))!r}; "
            "set LLM_PROVIDER=openai_compatible to use it"
        )
    return {name: providers.bare(name, row, root) for name, row in found.items()}


def _with_custom(drafts: dict[str, Draft], root: Node) -> dict[str, Draft]:
    """Add the providers that users registered; with none at all there is `demo`."""
    for name in custom.names():
        if name not in drafts:
            drafts[name] = providers.bare(name, custom.row(name, load=is_loaded(name)), root)
    return drafts or {"demo": providers.bare("demo", rows()["demo"], root)}


def _variable(name: str, value: str, root: Node) -> Node:
    return Node(value, name, root.source, root.environment)


def _preferred(node: Node | None, variable: str, root: Node, warnings: list[str]) -> Node | None:
    """Return what the file says, else what the environment does."""
    value = root.environment.get(variable)
    if node is None:
        return _variable(variable, value, root) if value else None
    if value and value != node.text():
        warnings.append(f"{variable} has no effect: {node.where} says otherwise")
    return node


def _configured(node: Node, drafts: Collection[str]) -> str:
    """Return the name of a provider that is configured, disabled or not."""
    name = node.text()
    if name not in drafts:
        raise node.fault(
            f"no such provider is configured; {near(name, drafts)}write one of {', '.join(drafts)}"
        )
    return name


def _made(
    drafts: Mapping[str, Draft], default: str | None, warnings: list[str]
) -> tuple[dict[str, Provider], dict[str, str]]:
    """Make the providers; one that misses a variable is disabled, with a warning that says so."""
    made: dict[str, Provider] = {}
    disabled: dict[str, str] = {}
    for name, draft in drafts.items():
        missing = draft.missing()
        if not missing:
            made[name] = draft.provider()
            warnings += draft.notes()
            continue
        why = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
        if name == default:
            raise ConfigError(
                f"{draft.node.where}: the default provider {name!r} cannot be used: {why}; "
                "set it in the environment or in .env, or choose another default provider"
            )
        disabled[name] = why
        warnings.append(f"{draft.node.source}: provider {name!r} is disabled: {why}")
    return made, disabled


def _groups(
    node: Node | None,
    listed: model_list.ModelList,
    known: groups.Known,
    aliases: Mapping[str, str],
) -> dict[str, Group]:
    found = listed.groups(known.providers, aliases)
    nodes = node.entries() if node else {}
    for name, child in nodes.items():
        if name in found:
            raise ConfigError(f"{child.where}: model_list has a group {name!r}; rename this one")
        found[name] = groups.native(name, child, known)

    def where(name: str, kind: str) -> Node:
        return nodes[name].child(kind, None) if name in nodes else listed.nodes[kind]

    return fallbacks.checked(found, aliases, where)


def _chain(node: Node | None, drafts: Collection[str]) -> tuple[str, ...]:
    if node is None:
        return ()
    for item in node.items():
        _configured(item, drafts)
    return node.texts()


def _model_map(node: Node | None, drafts: Collection[str]) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = {}
    for model, choices in (node.entries() if node else {}).items():
        nodes = choices.entries()
        for provider in nodes:
            _configured(choices.child(provider, provider), drafts)
        result[model] = {provider: child.text() for provider, child in nodes.items()}
    return result
