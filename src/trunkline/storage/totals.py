"""Sums added up further: by day for pages of usage, by scope for holds.

A page reads a row for each name and day, not one for each call; what a new account begins with is
one row for each quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import add as plus
from typing import Any

from trunkline.storage import spans
from trunkline.storage.counts import COUNTS, DAY_KEY, KINDS, counting
from trunkline.storage.database import Session

DAY_QUARTERS = 96
_COST = COUNTS.index("cost_nusd")
_ADD_DAYS = counting("usage_days", DAY_KEY, COUNTS)
_ADD_SCOPES = counting("scope_sums", ("scope", "quarter"), ("cost_nusd",))


def add(db: Session, sums: Mapping[tuple[Any, ...], list[int]]) -> None:
    """Count what has changed: counts by the key of `usage_sums`."""
    days: dict[tuple[str, int, str, str], list[int]] = {}
    scopes: dict[tuple[str, int], int] = {}
    for (quarter, (*names, tags, tracked)), counts in sums.items():
        once = tuple(dict.fromkeys(tags))
        if tracked:
            day, tenant_id = quarter // DAY_QUARTERS, names[-1] or ""
            kinds = [*zip(KINDS, names, strict=False), *(("tag", tag) for tag in once or ("",))]
            for kind, name in kinds:
                place = kind, day, tenant_id, name or ""
                found = days.get(place)
                days[place] = counts if found is None else [*map(plus, found, counts)]
        if cost_nusd := counts[_COST]:
            for scope in scopes_of(*names[1:], tags=once):
                scopes[scope, quarter] = scopes.get((scope, quarter), 0) + cost_nusd
    spans.add_late(db, days)
    db.executemany(_ADD_DAYS, [(*place, *days[place]) for place in sorted(days)])
    db.executemany(_ADD_SCOPES, [(*place, scopes[place]) for place in sorted(scopes)])


def scopes_of(
    deployment: str | None,
    key_id: str | None,
    user_id: str | None,
    team_id: str | None,
    tenant_id: str | None,
    *,
    tags: tuple[str, ...],
) -> list[str]:
    """Return the scopes that pay for an attempt, but that of its run."""
    who = {
        "key": key_id,
        "user": user_id,
        "team": team_id,
        "tenant": tenant_id,
        "provider": (deployment or "").partition("/")[0],
        "deployment": deployment,
    }
    named = [f"{kind}:{name}" for kind, name in who.items() if name]
    return ["global", *named, *[f"tag:{tag}" for tag in tags]]
