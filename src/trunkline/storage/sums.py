"""Usage added up as it comes in, so that no page and no call ever reads all rows.

One row for each quarter of an hour, in which the day of every time zone begins, and everything that
usage may be asked by.
"""

from __future__ import annotations

from typing import Any

from trunkline.errors import InputError
from trunkline.storage.changes import Changes
from trunkline.storage.database import Database, Session
from trunkline.storage.records import bounded, to_json
from trunkline.storage.rows import By, UsageFilter, UsageRow
from trunkline.types.answer import Usage
from trunkline.types.record import Begun, Called

QUARTER_NS = 900 * 10**9

_WHO = ("key_id", "user_id", "team_id", "tenant_id")
_KEY = ("quarter", "model", "deployment", *_WHO, "tags", "tracked")
_COUNTS = (
    "requests",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_nusd",
    "unknown_requests",
    "unknown_attempts",
)
_ADD = (
    f"INSERT INTO usage_sums ({', '.join(_KEY + _COUNTS)}) "
    f"VALUES ({', '.join('?' * len(_KEY + _COUNTS))}) ON CONFLICT ({', '.join(_KEY)}) "
    "DO UPDATE SET "
    + ", ".join(f"{name} = usage_sums.{name} + excluded.{name}" for name in _COUNTS)
)
_BY_ATTEMPT = {"deployment", "provider"}
_GROUPS = {
    "model": ("model", "a.model"),
    "deployment": ("deployment", "a.deployment"),
    "provider": ("provider", "{provider}"),
    "key": ("key_id", "a.key_id"),
    "user": ("user_id", "a.user_id"),
    "team": ("team_id", "a.team_id"),
    "tenant": ("tenant_id", "a.tenant_id"),
    "tag": ("tag", "coalesce(t.value, '')"),
    "day": ("day", "{day}"),
}
_SCOPES = {
    "key": "key_id = ?",
    "user": "user_id = ?",
    "team": "team_id = ?",
    "tenant": "tenant_id = ?",
    "deployment": "deployment = ?",
    "provider": "{provider} = ?",
    "tag": "{has}",
}
KINDS = ("key", "user", "team", "tenant", "tag", "run", "provider", "deployment")
"""Of scopes, as in `user:alice`; `global` is one without a name."""
_OF_RUN = (
    "SELECT sum(a.cost_nusd) AS nusd FROM calls AS c JOIN attempts AS a ON a.call_id = c.call_id "
    "WHERE c.run = ? AND a.started_ns >= ? AND a.started_ns < ?"
)


def add(db: Session, changes: Changes) -> None:
    """Count what has changed."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for begun, ended, before in changes.attempts:
        counts = _counts(sums, begun, begun.deployment)
        _weigh(counts, ended.usage, ended.cost_nusd, 1)
        if before is not None:
            _weigh(counts, before.usage, before.cost_nusd, -1)
    for called, old in changes.calls:
        _request(sums, called, 1)
        if old is not None:
            _request(sums, old, -1)
    db.executemany(_ADD, [_row(key, counts) for key, counts in sums.items() if any(counts)])


def _counts(
    sums: dict[tuple[Any, ...], list[int]], record: Begun | Called, deployment: str | None
) -> list[int]:
    """Return the counts that `record` belongs to."""
    key = (
        record.started_ns // QUARTER_NS,
        record.model,
        deployment,
        record.key_id,
        record.user_id,
        record.team_id,
        record.tenant_id,
        record.tags,
        record.tracked,
    )
    found = sums.get(key)
    if found is None:
        found = sums[key] = [0] * len(_COUNTS)
    return found


def _weigh(counts: list[int], usage: Usage, cost_nusd: int | None, sign: int) -> None:
    """Add an attempt, or take it away; the places are those of `_COUNTS`."""
    counts[1] += sign
    counts[2] += sign * bounded(usage.prompt_tokens)
    counts[3] += sign * bounded(usage.completion_tokens)
    counts[4] += sign * bounded(usage.cache_read_tokens)
    counts[5] += sign * bounded(usage.reasoning_tokens)
    if cost_nusd is None:
        counts[8] += sign
    else:
        counts[6] += sign * bounded(cost_nusd)


def _request(sums: dict[tuple[Any, ...], list[int]], called: Called, sign: int) -> None:
    """Add a call, or take it away."""
    counts = _counts(sums, called, called.deployment)
    counts[0] += sign
    if called.cost_state == "unknown":
        counts[7] += sign


def _row(key: tuple[Any, ...], counts: list[int]) -> list[Any]:
    quarter, *names, tags, tracked = key
    listed = to_json(tuple(dict.fromkeys(tags)))
    return [quarter, *(name or "" for name in names), listed, 1 if tracked else 0, *counts]


def usage(db: Session, database: Database, by: By, where: UsageFilter) -> list[UsageRow]:
    """Return what calls used, dearest first.

    Raises:
        InputError: there is no such grouping.
    """
    if by not in _GROUPS:
        raise InputError(f"by: no such grouping {by!r}; use {', '.join(_GROUPS)}", param="by")
    words = database.words
    name, value = _GROUPS[by]
    value = value.format(
        provider=words.provider, day=words.day.format(f"(a.quarter * {QUARTER_NS // 10**9})")
    )
    tags = words.each_tag.replace("c.tags", "a.tags") if by == "tag" else ""
    requests, unknown, counted = (
        ("attempts", "unknown_attempts", "a.attempts")
        if by in _BY_ATTEMPT
        else ("requests", "unknown_requests", "a.requests + a.attempts")
    )
    conditions, bound = _conditions(where)
    query = f"""
        SELECT
            {value} AS value,
            sum(a.{requests}) AS requests,
            sum(a.prompt_tokens) AS prompt_tokens,
            sum(a.completion_tokens) AS completion_tokens,
            sum(a.prompt_tokens + a.completion_tokens) AS total_tokens,
            sum(a.cached_tokens) AS cached_tokens,
            sum(a.reasoning_tokens) AS reasoning_tokens,
            sum(a.cost_nusd) AS cost_nusd,
            sum(a.{unknown}) AS unknown_price_requests
        FROM usage_sums AS a {tags} WHERE {" AND ".join(conditions)}
        GROUP BY 1 HAVING sum({counted}) > 0
        ORDER BY cost_nusd DESC, total_tokens DESC, value"""
    rows = [dict(row) for row in db.execute(query, bound)]
    return [UsageRow(by=name, **{**row, "value": row["value"] or None}) for row in rows]


def _conditions(where: UsageFilter) -> tuple[list[str], list[Any]]:
    given = {
        "a.quarter >= ?": None if where.since_ns is None else where.since_ns // QUARTER_NS,
        # A bound within a quarter takes the whole of it: what was just used is in it.
        "a.quarter < ?": None if where.until_ns is None else -(-where.until_ns // QUARTER_NS),
        **{f"a.{name} = ?": getattr(where, name) for name in _WHO},
    }
    given = {sql: value for sql, value in given.items() if value is not None}
    return ["a.tracked = 1", *given], [*given.values()]


def settled(
    db: Session, database: Database, scope: str, since_ns: int = 0, until_ns: int = 2**63 - 1
) -> int:
    """Return the nano-USD that ended attempts cost which began in [since, until), hidden ones too.

    Args:
        scope: `global`, or a kind and a name as in `user:alice`.
        since_ns: the beginning of a quarter of an hour; so is `until_ns`.

    Raises:
        InputError: there is no such scope.
    """
    kind, _, name = scope.partition(":")
    if scope != "global" and (kind not in KINDS or not name):
        known = ", ".join(f"{each}:..." for each in KINDS)
        raise InputError(f"scope: no such scope {scope!r}; use global, {known}", param="scope")
    if kind == "run":
        row = db.execute(_OF_RUN, (name, since_ns, until_ns)).fetchone()
    else:
        words = database.words
        which = _SCOPES.get(kind, "1 = 1").format(provider=words.provider, has=words.has)
        row = db.execute(
            "SELECT sum(cost_nusd) AS nusd FROM usage_sums AS a "
            f"WHERE quarter >= ? AND quarter < ? AND {which}",
            (since_ns // QUARTER_NS, until_ns // QUARTER_NS, *([name] if name else [])),
        ).fetchone()
    return int(row["nusd"] or 0)
