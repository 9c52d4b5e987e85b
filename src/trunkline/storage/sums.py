"""Usage added up as it comes in, so that no page and no call ever reads all rows.

One row for each quarter of an hour, in which the day of every time zone begins, and everything that
usage may be asked by. These are added up further in `totals`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from trunkline.errors import InputError
from trunkline.storage import spans, totals
from trunkline.storage.changes import Changes
from trunkline.storage.counts import COUNTS, counting
from trunkline.storage.database import Database, Session
from trunkline.storage.records import LARGEST, bounded, to_json
from trunkline.storage.rows import By, UsageFilter, UsageRow
from trunkline.storage.totals import DAY_QUARTERS
from trunkline.types.answer import Usage
from trunkline.types.record import Begun, Called

QUARTER_NS = 900 * 10**9

_WHO = ("key_id", "user_id", "team_id", "tenant_id")
_KEY = ("quarter", "model", "deployment", *_WHO, "tags", "tracked")
_ADD = counting("usage_sums", _KEY, COUNTS)
_names = attrgetter(*_KEY[1:])
_tokens = attrgetter("prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens")
_BY_ATTEMPT = {"deployment", "provider"}
_GROUPS = {
    # by: the name of its column, its value in `usage_sums`, and kind and value in `usage_days`
    "model": ("model", "a.model", "model", "a.name"),
    "deployment": ("deployment", "a.deployment", "deployment", "a.name"),
    "provider": ("provider", "{provider}", "deployment", "{day_provider}"),
    "key": ("key_id", "a.key_id", "key", "a.name"),
    "user": ("user_id", "a.user_id", "user", "a.name"),
    "team": ("team_id", "a.team_id", "team", "a.name"),
    "tenant": ("tenant_id", "a.tenant_id", "team", "a.tenant_id"),
    "tag": ("tag", "coalesce(t.value, '')", "tag", "a.name"),
    "day": ("day", "{quarter_day}", "team", "{day}"),
}
KINDS = ("key", "user", "team", "tenant", "tag", "run", "provider", "deployment")
"""Of scopes, as in `user:alice`; `global` is one without a name."""
_OF_RUN = (
    "SELECT sum(a.cost_nusd) AS nusd FROM calls AS c JOIN attempts AS a ON a.call_id = c.call_id "
    "WHERE c.run = ? AND a.started_ns >= ? AND a.started_ns < ?"
)
_OF_SCOPE = (
    "SELECT sum(cost_nusd) AS nusd FROM scope_sums WHERE scope = ? AND quarter >= ? AND quarter < ?"
)
_LAST = 2**63 // QUARTER_NS
_COUNTS = ", ".join(f"a.{name}" for name in COUNTS)


def add(db: Session, changes: Changes) -> None:
    """Count what has changed."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for attempt in changes.attempts:
        ended, before = attempt.ended, attempt.before
        counts = _counts(sums, attempt.begun)
        _weigh(counts, ended.usage, ended.cost_nusd, 1)
        if before is not None:
            _weigh(counts, before.usage, before.cost_nusd, -1)
    for call in changes.calls:
        _request(sums, call.called, 1)
        if call.before is not None:
            _request(sums, call.before, -1)
    new = {key: counts for key, counts in sums.items() if any(counts)}
    db.executemany(_ADD, [_row(key, counts) for key, counts in new.items()])
    totals.add(db, new)


def _counts(sums: dict[tuple[Any, ...], list[int]], record: Begun | Called) -> list[int]:
    """Return the counts that `record` belongs to."""
    key = record.started_ns // QUARTER_NS, _names(record)
    found = sums.get(key)
    if found is None:
        found = sums[key] = [0] * len(COUNTS)
    return found


def _weigh(counts: list[int], usage: Usage, cost_nusd: int | None, sign: int) -> None:
    """Add an attempt, or take it away; the places are those of `COUNTS`."""
    prompt, completion, cached, reasoning = tokens = _tokens(usage)
    # Together they are at least as large as each, and negative if one is.
    if not 0 <= prompt | completion | cached | reasoning < LARGEST:
        prompt, completion, cached, reasoning = map(bounded, tokens)
    counts[1] += sign
    counts[2] += sign * prompt
    counts[3] += sign * completion
    counts[4] += sign * cached
    counts[5] += sign * reasoning
    if cost_nusd is None:
        counts[8] += sign
    else:
        counts[6] += sign * bounded(cost_nusd)


def _request(sums: dict[tuple[Any, ...], list[int]], called: Called, sign: int) -> None:
    """Add a call, or take it away."""
    counts = _counts(sums, called)
    counts[0] += sign
    if called.cost_state == "unknown":
        counts[7] += sign


def _row(key: tuple[Any, ...], counts: list[int]) -> list[Any]:
    quarter, (*names, tags, tracked) = key
    listed = to_json(tuple(dict.fromkeys(tags)))
    return [quarter, *(name or "" for name in names), listed, 1 if tracked else 0, *counts]


def usage(db: Session, database: Database, by: By, where: UsageFilter) -> list[UsageRow]:
    """Return what calls used, dearest first.

    Raises:
        InputError: there is no such grouping.
    """
    if by not in _GROUPS:
        raise InputError(f"by: no such grouping {by!r}; use {', '.join(_GROUPS)}", param="by")
    name = _GROUPS[by][0]
    requests, unknown, counted = (
        ("attempts", "unknown_attempts", "attempts")
        if by in _BY_ATTEMPT
        else ("requests", "unknown_requests", "requests + attempts")
    )
    parts, bound = _parts(db, database, by, where)
    # CAST: of whole numbers PostgreSQL makes decimal ones, which take long to read.
    query = f"""
        SELECT
            value,
            CAST(sum({requests}) AS BIGINT) AS requests,
            CAST(sum(prompt_tokens) AS BIGINT) AS prompt_tokens,
            CAST(sum(completion_tokens) AS BIGINT) AS completion_tokens,
            CAST(sum(prompt_tokens + completion_tokens) AS BIGINT) AS total_tokens,
            CAST(sum(cached_tokens) AS BIGINT) AS cached_tokens,
            CAST(sum(reasoning_tokens) AS BIGINT) AS reasoning_tokens,
            CAST(sum(cost_nusd) AS BIGINT) AS cost_nusd,
            CAST(sum({unknown}) AS BIGINT) AS unknown_price_requests
        FROM ({" UNION ALL ".join(parts)}) AS every
        GROUP BY value HAVING sum({counted}) > 0
        ORDER BY cost_nusd DESC, total_tokens DESC, value"""
    rows = [dict(row) for row in db.execute(query, bound)]
    return [UsageRow(by=name, **{**row, "value": row["value"] or None}) for row in rows]


def _parts(
    db: Session, database: Database, by: By, where: UsageFilter
) -> tuple[list[str], list[Any]]:
    """Return queries that give what is asked for together, and their values.

    Whole days are read from `usage_days` and `usage_spans`, as far as these know whose calls are
    asked for; the rest of the first and the last day, or all, quarter by quarter.
    """
    since = max(0, where.since_ns or 0) // QUARTER_NS
    # A bound within a quarter takes the whole of it: what was just used is in it.
    until = _LAST if where.until_ns is None else -(-where.until_ns // QUARTER_NS)
    first, last = -(-since // DAY_QUARTERS), until // DAY_QUARTERS
    others = (where.key_id, where.user_id, where.team_id)
    if first >= last or any(name is not None for name in others):
        return _quarters(database, by, where, (since, until))
    words = database.words
    _, _, kind, value = _GROUPS[by]
    value = value.format(
        day=words.day.format("(a.day * 86400)"),
        day_provider=words.provider.replace("a.deployment", "a.name"),
    )
    tenant, bound = (
        ("", []) if where.tenant_id is None else (" AND a.tenant_id = ?", [where.tenant_id])
    )
    parts: list[str] = []
    values: list[Any] = []
    for size, begin, end in spans.parts(first, last, 0 if by == "day" else spans.made(db)):
        table = (
            "usage_days AS a WHERE" if size == 1 else f"usage_spans AS a WHERE a.days = {size} AND"
        )
        parts.append(
            f"SELECT {value} AS value, {_COUNTS} FROM {table} "
            f"a.kind = ? AND a.day >= ? AND a.day < ?{tenant}"
        )
        values += [kind, begin, end, *bound]
    for edge in ((since, first * DAY_QUARTERS), (last * DAY_QUARTERS, until)):
        if edge[0] < edge[1]:
            more, bound = _quarters(database, by, where, edge)
            parts, values = parts + more, values + bound
    return parts, values


def _quarters(
    database: Database, by: By, where: UsageFilter, between: tuple[int, int]
) -> tuple[list[str], list[Any]]:
    words = database.words
    value = _GROUPS[by][1].format(
        provider=words.provider,
        quarter_day=words.day.format(f"(a.quarter * {QUARTER_NS // 10**9})"),
    )
    tags = words.each_tag.replace("c.tags", "a.tags") if by == "tag" else ""
    given = {name: getattr(where, name) for name in _WHO if getattr(where, name) is not None}
    which = "".join(f" AND a.{name} = ?" for name in given)
    # Nobody has an index.
    which += "".join(f" AND a.{name} <> ''" for name, value in given.items() if value)
    query = (
        f"SELECT {value} AS value, {_COUNTS} FROM usage_sums AS a {tags} "
        f"WHERE a.tracked = 1 AND a.quarter >= ? AND a.quarter < ?{which}"
    )
    return [query], [*between, *given.values()]


def prune(db: Session, before_ns: int, most: int) -> int:
    """Delete the oldest quarters of days that were over before, `most` rows and some; how many.

    `usage_days` and `scope_sums` stay: what budgets have settled, and the usage of whole days.
    """
    before = before_ns // QUARTER_NS // DAY_QUARTERS * DAY_QUARTERS
    gone = 0
    while gone < most:
        oldest = "SELECT min(quarter) AS quarter FROM usage_sums WHERE quarter < ?"
        quarter = db.execute(oldest, (before,)).fetchone()["quarter"]
        if quarter is None:
            break
        gone += db.execute("DELETE FROM usage_sums WHERE quarter = ?", (quarter,)).rowcount
    return gone


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
        bound = (scope, since_ns // QUARTER_NS, until_ns // QUARTER_NS)
        row = db.execute(_OF_SCOPE, bound).fetchone()
    return int(row["nusd"] or 0)
