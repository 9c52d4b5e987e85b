"""The shared ledger in a database: what is settled, what owners were granted, and by how much more
attempts cost than they held. See `trunkline.accounting.leases` for the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from trunkline.accounting.leases import Back, Grant, Lease, Refusal, Seen, Want, afforded, room
from trunkline.accounting.period import Window
from trunkline.storage import pools, sums
from trunkline.storage.changes import AttemptChange, Changes
from trunkline.storage.database import Database, Session
from trunkline.storage.records import bounded, to_json
from trunkline.storage.totals import scopes_of

FIND = "SELECT id FROM ledger_accounts WHERE scope = ? AND period = ? AND bucket_ns = ?"
_OPEN = "SELECT 1 FROM ledger_accounts WHERE end_ns > ? LIMIT 1"
_EXPOSED = "CASE WHEN granted_nusd > ingested_nusd THEN granted_nusd - ingested_nusd ELSE 0 END"
_payer = attrgetter("run", "tags", "deployment", "key_id", "user_id", "team_id", "tenant_id")
# CROSS: SQLite begins at the attempts, which are few since then. Elsewhere it says nothing.
# Source: https://www.sqlite.org/optoverview.html section 8.2 (2026-11-20)
_OWN = """
    SELECT sum(a.cost_nusd) AS nusd FROM attempts AS a CROSS JOIN calls AS c
    WHERE c.call_id = a.call_id AND c.journal = (SELECT id FROM journals WHERE owner = ?)
    AND a.started_ns >= ? AND a.started_ns < ?"""
_SCOPES = {
    "global": "1 = 1",
    "key": "c.key_id = ?",
    "user": "c.user_id = ?",
    "team": "c.team_id = ?",
    "tenant": "c.tenant_id = ?",
    "run": "c.run = ?",
    "tag": "{has}",
    "provider": "{provider} = ?",
    "deployment": "a.deployment = ?",
}


class Holding(NamedTuple):
    """What one owner was granted of one account, for a person to look at."""

    scope: str
    period: str
    bucket_ns: int
    owner: str
    opened_ns: int
    """Since when it is one of the account's owners."""
    granted_nusd: int
    ingested_nusd: int


class SqlLeases:
    """The leases in a database; satisfies `trunkline.accounting.leases.Leases`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def grant(
        self, owner: str, wants: Sequence[Want], *, forced: bool = False
    ) -> list[Grant] | Refusal:
        """Grant all or nothing; see `Leases.grant`."""
        with self._database.session(write=True) as db:
            numbers = self._accounts(db, wants)
            grants: list[Grant] = []
            for place, (want, number) in enumerate(zip(wants, numbers, strict=True)):
                lease = self._lease(db, number, owner, want)
                seen = seen_in(db, want.scope, want.period, want.window)
                spent_nusd = seen.settled_nusd + max(0, want.spent_nusd - lease.ingested_nusd)
                nusd = want.need_nusd if forced else room(want, seen, lease)
                if nusd is None:
                    return Refusal(place, spent_nusd, afforded(want, seen, lease))
                grants.append(Grant(nusd, spent_nusd))
            db.executemany(
                "UPDATE ledger_leases SET granted_nusd = granted_nusd + ? "
                "WHERE account = ? AND owner = ?",
                [(g.nusd, number, owner) for number, g in zip(numbers, grants, strict=True)],
            )
            return grants

    def give_back(self, owner: str, backs: Sequence[Back]) -> None:
        """Lower what `owner` was granted."""
        with self._database.session(write=True) as db:
            db.executemany(
                "UPDATE ledger_leases SET granted_nusd = granted_nusd - ? "
                f"WHERE owner = ? AND account = ({FIND})",
                [(back.nusd, owner, *back[:3]) for back in sorted(backs)],
            )

    def look(self, scope: str, period: str, window: Window) -> Seen:
        """Return the state of one account; one that nobody has asked yet is what was used."""
        with self._database.session() as db:
            seen = seen_in(db, scope, period, window)
            for start_ns, end_ns in _missing(db, scope, period, window):
                settled = sums.settled(db, self._database, scope, start_ns, end_ns)
                seen = seen._replace(settled_nusd=seen.settled_nusd + settled)
            return seen

    def mark(self, scope: str, period: str, bucket_ns: int, mark_nusd: int) -> bool:
        """Note a mark; False = it had been noted."""
        with self._database.session(write=True) as db:
            found = db.execute(
                "UPDATE ledger_accounts SET marked_nusd = ? WHERE scope = ? AND period = ? "
                "AND bucket_ns = ? AND marked_nusd < ?",
                (mark_nusd, scope, period, bucket_ns, mark_nusd),
            )
            return found.rowcount > 0

    def tend(self) -> bool:
        """Nothing has been put off."""
        return False

    def close(self) -> None:
        """Let go of the database; a later use opens it again."""
        self._database.close()

    def holdings(self) -> list[Holding]:
        """Return what owners were granted and have neither used nor given back, as far as known."""
        query = (
            "SELECT scope, period, bucket_ns, owner, opened_ns, granted_nusd, ingested_nusd "
            "FROM ledger_leases JOIN ledger_accounts ON id = account "
            "WHERE granted_nusd > ingested_nusd ORDER BY owner, scope, period, bucket_ns"
        )
        with self._database.session() as db:
            return [Holding(**dict(row)) for row in db.execute(query)]

    def forget(self, owner: str) -> int:
        """Drop what `owner` was granted, ingested or not; returns from how many accounts."""
        with self._database.session(write=True) as db:
            return release(db, owner)

    def _accounts(self, db: Session, wants: Sequence[Want]) -> list[int]:
        """Return the numbers of the accounts, made where missing, locked in one order for all."""
        numbers: dict[tuple[str, str], int] = {}
        for want in sorted(wants, key=lambda want: want[:2]):
            where = (want.scope, want.period, want.window.bucket_ns)
            row = db.execute(FIND + self._database.words.locked, where).fetchone()
            if row is None:
                self._make(db, want)
                row = db.execute(FIND + self._database.words.locked, where).fetchone()
            numbers[want[:2]] = row["id"]
        return [numbers[want[:2]] for want in wants]

    def _lease(self, db: Session, number: int, owner: str, want: Want) -> Lease:
        """Return the sums of an owner; a new one may have spent before it asked."""
        row = db.execute(
            "SELECT opened_ns, granted_nusd, ingested_nusd FROM ledger_leases "
            "WHERE account = ? AND owner = ?",
            (number, owner),
        ).fetchone()
        if row:
            known_nusd = want.granted_nusd
            # Where the clock was put back, another count of the same owner opened it.
            if known_nusd is None or row["opened_ns"] != want.since_ns:
                known_nusd = row["granted_nusd"]
            if known_nusd != row["granted_nusd"]:
                db.execute(
                    "UPDATE ledger_leases SET granted_nusd = ? WHERE account = ? AND owner = ?",
                    (known_nusd, number, owner),
                )
            return Lease(known_nusd, row["ingested_nusd"])
        kind, _, name = want.scope.partition(":")
        words = self._database.words
        which = _SCOPES[kind].format(provider=words.provider, has=words.has)
        bound = (owner, want.since_ns, want.window.end_ns, *([name] if name else []))
        own = db.execute(f"{_OWN} AND {which}", bound).fetchone()
        lease = Lease(want.granted_nusd or 0, int(own["nusd"] or 0))
        db.execute(
            "INSERT INTO ledger_leases (account, owner, opened_ns, granted_nusd, ingested_nusd) "
            "VALUES (?, ?, ?, ?, ?)",
            (number, owner, want.since_ns, *lease),
        )
        return lease

    def _make(self, db: Session, want: Want) -> None:
        """Make all accounts of a window that are missing, each with what was used in it."""
        for start_ns, end_ns in _missing(db, want.scope, want.period, want.window):
            settled_nusd = sums.settled(db, self._database, want.scope, start_ns, end_ns)
            db.execute(
                "INSERT INTO ledger_accounts (scope, period, bucket_ns, end_ns, settled_nusd) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (want.scope, want.period, start_ns, end_ns, settled_nusd),
            )


def _missing(db: Session, scope: str, period: str, window: Window) -> Iterator[tuple[int, int]]:
    """Return start and end of each bucket of `window` that has no account."""
    rows = db.execute(
        "SELECT bucket_ns FROM ledger_accounts WHERE scope = ? AND period = ? AND bucket_ns >= ?",
        (scope, period, window.start_ns),
    ).fetchall()
    found = {row["bucket_ns"] for row in rows}
    length_ns = window.end_ns - window.bucket_ns
    for start_ns in range(window.start_ns, window.bucket_ns + 1, length_ns):
        if start_ns not in found:
            yield start_ns, start_ns + length_ns


def seen_in(db: Session, scope: str, period: str, window: Window) -> Seen:
    """Return the state of an account as far as its buckets have been made."""
    where = "scope = ? AND period = ? AND bucket_ns >= ?"
    bound = (scope, period, window.start_ns)
    row = db.execute(
        "SELECT sum(settled_nusd) AS settled, sum(overrun_nusd) AS overrun "
        f"FROM ledger_accounts WHERE {where}",
        bound,
    ).fetchone()
    exposed = db.execute(
        f"SELECT sum({_EXPOSED}) AS nusd FROM ledger_leases WHERE account IN "
        f"(SELECT id FROM ledger_accounts WHERE {where})",
        bound,
    ).fetchone()
    return Seen(int(row["settled"] or 0), int(exposed["nusd"] or 0), int(row["overrun"] or 0))


# --- for ingestion --------------------------------------------------------------------------------


def settle(db: Session, database: Database, owner: str, changes: Changes) -> None:
    """Settle what `changes` cost on every account that was open when the attempt began."""
    since_ns = min((change.begun.started_ns for change in changes.attempts), default=2**63 - 1)
    if db.execute(_OPEN, (since_ns,)).fetchone() is None:
        return
    paid: dict[tuple[Any, ...], list[_Paid]] = {}
    for change in changes.attempts:
        paid.setdefault(_payer(change.begun), []).append(_paid(change))
    scopes = {payer: _scopes(*payer) for payer in paid}
    names = {scope for found in scopes.values() for scope in found}
    accounts: dict[str, list[Any]] = {}
    for row in db.execute(
        f"SELECT id, scope, bucket_ns, end_ns FROM ledger_accounts WHERE end_ns > ? "
        f"AND scope {database.words.listed}",
        (since_ns, to_json(tuple(names))),
    ):
        accounts.setdefault(row["scope"], []).append(row)
    if not accounts:
        return
    leases = {
        row["account"]: row["opened_ns"]
        for row in db.execute(
            "SELECT account, opened_ns FROM ledger_leases WHERE owner = ?", (owner,)
        )
    }
    settled: dict[int, list[int]] = {}
    for payer, attempts in paid.items():
        for row in (row for scope in scopes[payer] for row in accounts.get(scope, ())):
            sum_ = settled.setdefault(row["id"], [0, 0, 0])
            bucket_ns, end_ns = row["bucket_ns"], row["end_ns"]
            # What began before it was not held by this lease.
            opened_ns = leases.get(row["id"], end_ns)
            for at_ns, nusd, over_nusd in attempts:
                if bucket_ns <= at_ns < end_ns:
                    sum_[0] += nusd
                    sum_[1] += over_nusd
                    if opened_ns <= at_ns:
                        sum_[2] += nusd
    db.executemany(
        "UPDATE ledger_accounts SET settled_nusd = settled_nusd + ?, "
        "overrun_nusd = overrun_nusd + ? WHERE id = ?",
        [(nusd, over, number) for number, (nusd, over, _) in sorted(settled.items())],
    )
    db.executemany(
        "UPDATE ledger_leases SET ingested_nusd = ingested_nusd + ? "
        "WHERE account = ? AND owner = ?",
        [(own, number, owner) for number, (_, _, own) in sorted(settled.items()) if own],
    )


def release(db: Session, owner: str) -> int:
    """Drop what `owner` was granted; returns from how many accounts."""
    pools.bury(db, owner)
    return db.execute("DELETE FROM ledger_leases WHERE owner = ?", (owner,)).rowcount


class _Paid(NamedTuple):
    """What an attempt adds to every account that pays for it."""

    at_ns: int
    """When it began."""
    nusd: int
    over_nusd: int


def _paid(change: AttemptChange) -> _Paid:
    begun, before = change.begun, change.before
    cost_nusd = bounded(change.ended.cost_nusd or 0)
    if before is not None:
        return _Paid(begun.started_ns, cost_nusd - bounded(before.cost_nusd or 0), 0)
    return _Paid(begun.started_ns, cost_nusd, max(0, cost_nusd - (begun.hold_nusd or 0)))


def _scopes(run: str | None, tags: tuple[str, ...], *names: str | None) -> list[str]:
    """Return the scopes that pay for an attempt."""
    found = scopes_of(*names, tags=tuple(dict.fromkeys(tags)))
    return [*found, f"run:{run}"] if run else found
