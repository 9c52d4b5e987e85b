"""Where a group leads when it cannot answer, and the proof that it leads somewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from trunkline.config.model import Group
from trunkline.config.node import Node, near
from trunkline.errors import ConfigError

KINDS = (
    "fallbacks", "context_window_fallbacks", "rate_limit_fallbacks", "content_policy_fallbacks",
)  # fmt: skip

Where = Callable[[str, str], Node]
"""From a group's name and one of `KINDS` to where that list stands."""


def checked(
    groups: Mapping[str, Group], aliases: Mapping[str, str], where: Where
) -> dict[str, Group]:
    """Return the groups with aliases among their fallbacks resolved.

    Raises:
        ConfigError: a list names what is no group, leads back to where it began, or to a group
            that cannot do what this one promises.
    """
    found = {}
    for name, group in groups.items():
        lists = {}
        for kind in KINDS:
            targets = [resolved(target, groups, aliases) for target in getattr(group, kind)]
            for said, target in zip(getattr(group, kind), targets, strict=True):
                if target not in groups:
                    raise ConfigError(
                        f"{where(name, kind).where}: no group is called {said!r}; "
                        f"{near(said, groups)}write one of {', '.join(groups)}"
                    )
            lists[kind] = tuple(dict.fromkeys(targets))
        found[name] = replace(group, **lists)
    for kind in KINDS:
        edges = {name: getattr(group, kind) for name, group in found.items()}
        for name in found:
            if way := loop(name, edges):
                raise ConfigError(
                    f"{where(name, kind).where}: the fallbacks go round in a circle "
                    f"({' -> '.join(way)}); take one of them out"
                )
    for group in found.values():
        _check_promises(group, found, where)
    return found


def loop(start: str, edges: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the way from `start` back to itself, or nothing."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop()
        for target in edges.get(way[-1], ()):
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def resolved(name: str, groups: Collection[str], aliases: Mapping[str, str]) -> str:
    """Return the group that `name` stands for, or what is no group at the end of its aliases."""
    while name not in groups and name in aliases:
        name = aliases[name]
    return name


def _check_promises(group: Group, groups: Mapping[str, Group], where: Where) -> None:
    """Check what is certain: an ability that is not known to be missing counts as there."""
    for need in sorted(group.promises):
        if group.deployments and all(need in row.lacks for row in group.deployments):
            raise ConfigError(
                f"{where(group.name, 'promises').where}: group {group.name!r} promises {need}, "
                "which every deployment of it lacks; take it out of the list"
            )
    for kind in KINDS:
        for target in getattr(group, kind):
            rows = groups[target].deployments
            lost = [n for n in sorted(group.promises) if rows and all(n in r.lacks for r in rows)]
            if lost:
                raise ConfigError(
                    f"{where(group.name, kind).where}: group {group.name!r} promises "
                    f"{', '.join(lost)}, which every deployment of {target!r} lacks; "
                    "name a group that can do it"
                )
    _check_contexts(group, groups, where)


def _check_contexts(group: Group, groups: Mapping[str, Group], where: Where) -> None:
    here = [row.context_window for row in group.deployments]
    for target in group.context_window_fallbacks:
        there = [row.context_window for row in groups[target].deployments]
        known = [window for window in here if window], [window for window in there if window]
        if not (all(here) and all(there) and here and there):
            continue
        if max(known[1]) <= min(known[0]):
            raise ConfigError(
                f"{where(group.name, 'context_window_fallbacks').where}: {target!r} takes "
                f"{max(known[1])} tokens at most, {group.name!r} never less than {min(known[0])}; "
                "name a group with a longer context"
            )
