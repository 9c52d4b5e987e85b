"""What ten million attempts cost whoever asks, and whoever holds money.

    python -m bench rows [--write] [--rows=10000000] [--database=FILE or URL]

Fills a store by the way that the steward takes, unless it has rows: calls of 90 days, of 5,000
users with 500 keys in 50 tenants, at 20 models. They come in runs of eight by the same user at the
same model.
Then times what pages ask, and what a hold waits for; each round asks about somebody else. A run of
all measurements, where this is not named, fills 100,000. Without `--database` it is a SQLite file
that goes again. With `--write` the table goes to bench/results/, a file for each engine.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.gateway import machine
from trunkline.accounting.leases import Want
from trunkline.accounting.period import window
from trunkline.storage.database import Database
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.rows import By, CallFilter, UsageFilter
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.types import Begun, Called, Ended, Record, Usage

ROWS, FEW_ROWS = 10_000_000, 100_000
USERS, KEYS, TENANTS, MODELS = 5000, 500, 50, 20
CALLS_IN_A_ROW = 8
CALLS_AT_ONCE = 20_000
STEWARDS_CALLS = 667
ROUNDS = 7
USAGE_MS, PAGE_MS, NOTHING_MS, HOLD_MS = 50, 50, 10, 5
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
END_NS = 1_795_132_800 * SECOND_NS
"""2026-11-20; the present of the rows."""
BEGIN_NS = END_NS - 90 * DAY_NS
OWNER = "20261120T000000-1-0000000000000000"
FILE = f"{OWNER}.000000.log"


def main() -> None:
    rows = ROWS if "rows" in sys.argv else FEW_ROWS
    rows = int(_option("rows") or rows)
    before = os.getloadavg()[0]
    lines = ["| what | median (spread), ms | CPU, ms | at most | |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        database, engine = _database(_option("database") or f"{folder}/trunkline.db")
        store = Store(database)
        filled = "Filled before" if store.calls(1) else fill(store, rows)
        filled += f", {_size_gb(database):.1f} GB"
        print("\n".join([filled, *lines]), flush=True)
        for line in measured(store, rows):
            lines.append(line)
            print(line, flush=True)
        store.close()
    about = f"{machine()}; load {before:.1f} before, {os.getloadavg()[0]:.1f} after."
    print(f"\n{about}")
    if "--write" in sys.argv:
        head = f"# What {rows:,} attempts cost whoever asks: {engine}\n\n{about}\n{filled}.\n"
        text = "\n".join(["`python -m bench rows`\n", *lines])
        name = "rows.md" if engine == "SQLite" else "rows-postgresql.md"
        Path(__file__).with_name("results").joinpath(name).write_text(f"{head}{text}\n")


def _option(name: str) -> str | None:
    start = f"--{name}="
    return next((arg[len(start) :] for arg in sys.argv if arg.startswith(start)), None)


def _database(place: str) -> tuple[Database, str]:
    if "://" not in place:
        return SqliteDatabase(Path(place)), "SQLite"
    from trunkline.storage.postgres import PostgresDatabase

    return PostgresDatabase(place), "PostgreSQL"


def _size_gb(database: Database) -> float:
    size = "pg_database_size(current_database())"
    if isinstance(database, SqliteDatabase):
        size = "page_count * page_size FROM pragma_page_count, pragma_page_size"
    with database.session() as db:
        return float(db.execute(f"SELECT {size}").fetchone()[0]) / 1e9


def fill(store: Store, rows: int) -> str:
    """Take all calls in, and say what that took."""
    start_s, start_cpu_s, applying_s = time.monotonic(), time.process_time(), 0.0
    for first in range(0, rows, CALLS_AT_ONCE):
        count = min(CALLS_AT_ONCE, rows - first)
        records = [record for n in range(first, first + count) for record in call(n, rows)]
        before_s = time.process_time()
        store.apply(FILE, first + count, records)
        applying_s += time.process_time() - before_s
    return (
        f"{rows:,} calls in {time.monotonic() - start_s:.0f} s, {CALLS_AT_ONCE:,} at once; "
        f"{time.process_time() - start_cpu_s:.0f} s of CPU, "
        f"{applying_s / rows * 1e6:.1f} us of it for each in `Store.apply`"
    )


def call(number: int, of: int) -> Iterator[Record]:
    """Yield the records of one call with one attempt."""
    # Scatters without a pattern that a page could like.
    dice = number // CALLS_IN_A_ROW * 2_654_435_761 % 2**32
    user = dice % USERS
    model = f"model-{dice // USERS % MODELS}"
    at_ns = BEGIN_NS + (END_NS - BEGIN_NS) * number // of
    call_id = f"call_{at_ns // 10**6:012x}{number:016x}"
    key_id, user_id, tenant_id = f"key_{user % KEYS}", f"user-{user}", f"tenant-{user % TENANTS}"
    tags = (f"team-{user % 20}",) if user % 2 else ()
    usage = Usage(prompt_tokens=number % 4000, completion_tokens=number % 900)
    cost_nusd = 2500 * usage.prompt_tokens + 10_000 * usage.completion_tokens
    yield Begun(
        call_id=call_id,
        n=1,
        started_ns=at_ns,
        deployment=f"provider-{dice % 5}/{model}",
        model=model,
        hold_nusd=20_000_000,
        price_snapshot="2026-11-20",
        key_id=key_id,
        user_id=user_id,
        tenant_id=tenant_id,
        tags=tags,
    )
    yield Ended(
        call_id=call_id,
        n=1,
        outcome="complete",
        cost_nusd=cost_nusd,
        cost_state="exact",
        usage=usage,
        finish="stop",
        latency_ms=812.5,
        first_token_ms=204.0,
        upstream_id=f"chatcmpl-{number:016x}",
    )
    yield Called(
        call_id=call_id,
        kind="chat",
        started_ns=at_ns,
        model=model,
        outcome="complete",
        message_count=3,
        attempts=1,
        deployment=f"provider-{dice % 5}/{model}",
        finish="stop",
        cost_nusd=cost_nusd,
        cost_state="exact",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        latency_ms=813.0,
        first_token_ms=204.5,
        key_id=key_id,
        user_id=user_id,
        tenant_id=tenant_id,
        tags=tags,
    )


def measured(store: Store, rows: int) -> Iterator[str]:
    """Yield a line for each thing that somebody waits for."""
    month = END_NS - 30 * DAY_NS + 6 * 3600 * SECOND_NS  # within a day, as most are
    some = random.Random(1).sample(range(USERS), ROUNDS)
    grouped: tuple[By, ...] = ("day", "model", "key", "user", "tag")
    for by in grouped:
        for since_ns, what in ((month, "a month"), (None, "all time")):
            ask = partial(store.usage, by, UsageFilter(since_ns=since_ns))
            yield timed(f"usage by {by}, {what}", USAGE_MS, [ask] * ROUNDS)
    for who, filters in {
        "user": [UsageFilter(since_ns=month, user_id=f"user-{user}") for user in some],
        "key": [UsageFilter(since_ns=month, key_id=f"key_{user % KEYS}") for user in some],
        "tenant": [
            UsageFilter(since_ns=month, tenant_id=f"tenant-{user % TENANTS}") for user in some
        ],
    }.items():
        pages_of = [partial(store.usage, "model", where) for where in filters]
        yield timed(f"usage of one {who} by model, a month", USAGE_MS, pages_of)
    pages = {
        "newest calls": [CallFilter()] * ROUNDS,
        "newest calls of a user": [CallFilter(user_id=f"user-{user}") for user in some],
        "newest calls with a tag": [CallFilter(tag=f"team-{user % 10 * 2 + 1}") for user in some],
        "newest calls of a user with a tag": [
            CallFilter(user_id=f"user-{user | 1}", tag=f"team-{(user | 1) % 20}") for user in some
        ],
        "newest calls of a user with a tag of others": [
            CallFilter(user_id=f"user-{user | 1}", tag=f"team-{(user + 2 | 1) % 20}")
            for user in some
        ],
        "newest calls with a tag nobody has": [CallFilter(tag="none")] * ROUNDS,
    }
    for what, wheres in pages.items():
        most_ms = NOTHING_MS if "nobody" in what else PAGE_MS
        yield timed(what, most_ms, [partial(store.calls, where=where) for where in wheres])
    leases = SqlLeases(store.database)
    for kind in ("global", "user", "key", "tenant", "tag", "provider", "deployment"):
        scopes = [_scope(kind, user) for user in some]
        yield timed(
            f"settled of {kind}, a month",
            HOLD_MS,
            [partial(store.settled, scope, month) for scope in scopes],
        )
        wants = [_want(scope, number) for number, scope in enumerate(scopes)]
        holds = [partial(leases.grant, "somebody", [want]) for want in wants]
        yield timed(f"first hold on a new month's budget of {kind}", HOLD_MS, holds)
    yield timed(
        f"one more batch of {STEWARDS_CALLS} calls, with these 49 budgets",
        None,
        [partial(_more, store, rows + STEWARDS_CALLS * each, rows) for each in range(ROUNDS)],
    )


def _scope(kind: str, user: int) -> str:
    scopes = {
        "global": "global",
        "user": f"user:user-{user}",
        "key": f"key:key_{user % KEYS}",
        "tenant": f"tenant:tenant-{user % TENANTS}",
        "tag": f"tag:team-{user % 10 * 2 + 1}",
        "provider": f"provider:provider-{user % 5}",
        "deployment": f"deployment:provider-{user % 5}/model-{user % MODELS}",
    }
    return scopes[kind]


def _want(scope: str, number: int) -> Want:
    now_ns = END_NS - SECOND_NS
    month = window("month", now_ns)
    return Want(scope, f"month {number}", month, 10**15, 10**7, 10**7, 0, now_ns)


def _more(store: Store, first: int, of: int) -> None:
    batch = [record for n in range(first, first + STEWARDS_CALLS) for record in call(n, of)]
    store.apply(FILE, first + STEWARDS_CALLS, batch)


def timed(what: str, most_ms: int | None, rounds: Sequence[Callable[[], object]]) -> str:
    """Return a line of the table: what took how long, and how much CPU of this process."""
    took_ms, cpu_ms = [], []
    for ask in rounds:
        start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        ask()
        took_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        cpu_ms.append((time.process_time_ns() - start_cpu_ns) / 1e6)
    middle = statistics.median(took_ms)
    verdict = "-" if most_ms is None else "pass" if middle <= most_ms else "MISSED"
    spread = f"{min(took_ms):.2f} - {max(took_ms):.2f}"
    cpu = f"{statistics.median(cpu_ms):.2f}"
    return f"| {what} | **{middle:.2f}** ({spread}) | {cpu} | {most_ms or '-'} | {verdict} |"
