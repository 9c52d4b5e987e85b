"""The shared ledger in a database: what is settled, what owners were granted, and by how much more
attempts cost than they held. See `trunkline.accounting.leases` for the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trunkline.accounting.leases import Back, Grant, Lease, Refusal, Seen, Want, room
from trunkline.accounting.period import Window
from trunkline.storage import sums
from trunkline.storage.changes import NOTHING, Changes
from trunkline.storage.database import Database, Session
from trunkline.storage.records import bounded, to_json
from trunkline.types.record import Begun

_FIND = "SELECT id FROM ledger_accounts WHERE scope = ? AND period = ? AND bucket_ns = ?"
_EXPOSED = "CASE WHEN granted_nusd > ingested_nusd THEN granted_nusd - ingested_nusd ELSE 0 END"
_OWN = """
    SELECT sum(a.cost_nusd) AS nusd FROM attempts AS a JOIN calls AS c ON c.call_id = a.call_id
    WHERE c.journal = (SELECT id FROM journals WHERE owner = ?)
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
                seen = _seen(db, want.scope, want.period, want.window)
                lease = self._lease(db, number, owner, want)
                spent_nusd = seen.settled_nusd + max(0, want.spent_nusd - lease.ingested_nusd)
                nusd = want.need_nusd if forced else room(want, seen, lease)
                if nusd is None:
                    return Refusal(place, spent_nusd)
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
                f"WHERE owner = ? AND account = ({_FIND})",
                [(back.nusd, owner, *back[:3]) for back in sorted(backs)],
            )

    def look(self, scope: str, period: str, window: Window) -> Seen:
        """Return the state of one account; one that nobody has asked yet is what was used."""
        with self._database.session() as db:
            seen = _seen(db, scope, period, window)
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
            row = db.execute(_FIND + self._database.words.locked, where).fetchone()
            if row is None:
                self._make(db, want)
                row = db.execute(_FIND + self._database.words.locked, where).fetchone()
            numbers[want[:2]] = row["id"]
        return [numbers[want[:2]] for want in wants]

    def _lease(self, db: Session, number: int, owner: str, want: Want) -> Lease:
        """Return the sums of an owner; a new one may have spent before it asked."""
        row = db.execute(
            "SELECT granted_nusd, ingested_nusd FROM ledger_leases WHERE account = ? AND owner = ?",
            (number, owner),
        ).fetchone()
        if row:
            return Lease(row["granted_nusd"], row["ingested_nusd"])
        kind, _, name = want.scope.partition(":")
        words = self._database.words
        which = _SCOPES[kind].format(provider=words.provider, has=words.has)
        bound = (owner, want.since_ns, want.window.end_ns, *([name] if name else []))
        own = db.execute(f"{_OWN} AND {which}", bound).fetchone()
        lease = Lease(0, int(own["nusd"] or 0))
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


def _seen(db: Session, scope: str, period: str, window: Window) -> Seen:
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
    if not changes.attempts:
        return
    scopes = [(change, _scopes(change.begun)) for change in changes.attempts]
    names = {scope for _, found in scopes for scope in found}
    accounts: dict[str, list[Any]] = {}
    for row in db.execute(
        f"SELECT id, scope, bucket_ns, end_ns FROM ledger_accounts WHERE end_ns > ? "
        f"AND scope {database.words.listed}",
        (min(change.begun.started_ns for change in changes.attempts), to_json(tuple(names))),
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
    for change, found in scopes:
        at_ns = change.begun.started_ns
        cost_nusd = bounded(change.ended.cost_nusd or 0)
        paid_nusd = cost_nusd - bounded((change.before or NOTHING).cost_nusd or 0)
        over_nusd = max(0, cost_nusd - (change.begun.hold_nusd or 0)) if not change.before else 0
        for scope in found:
            for row in accounts.get(scope, ()):
                if row["bucket_ns"] <= at_ns < row["end_ns"]:
                    sum_ = settled.setdefault(row["id"], [0, 0, 0])
                    sum_[0] += paid_nusd
                    sum_[1] += over_nusd
                    # What began before it was not held by this lease.
                    if leases.get(row["id"], at_ns + 1) <= at_ns:
                        sum_[2] += paid_nusd
    db.executemany(
        "UPDATE ledger_accounts SET settled_nusd = settled_nusd + ?, "
        "overrun_nusd = overrun_nusd + ? WHERE id = ?",
        [(paid, over, number) for number, (paid, over, _) in sorted(settled.items())],
    )
    db.executemany(
        "UPDATE ledger_leases SET ingested_nusd = ingested_nusd + ? "
        "WHERE account = ? AND owner = ?",
        [(own, number, owner) for number, (_, _, own) in sorted(settled.items()) if own],
    )


def release(db: Session, owner: str) -> int:
    """Drop what `owner` was granted; returns from how many accounts."""
    return db.execute("DELETE FROM ledger_leases WHERE owner = ?", (owner,)).rowcount


def _scopes(begun: Begun) -> list[str]:
    """Return the scopes that pay for an attempt."""
    who = {
        "key": begun.key_id,
        "user": begun.user_id,
        "team": begun.team_id,
        "tenant": begun.tenant_id,
        "run": begun.run,
        "provider": begun.deployment.partition("/")[0],
        "deployment": begun.deployment,
    }
    named = [f"{kind}:{name}" for kind, name in who.items() if name]
    return ["global", *named, *(f"tag:{tag}" for tag in dict.fromkeys(begun.tags))]
