"""Money of an account that is handed out elsewhere: pools in the ledger, and who draws from them.

A pool is one of the account's owners, `valkey:<pool>`: what it was granted stays exposed here while
others hand it out. Whoever draws says so first, by a row `<owner>@<pool>`, and tells from time to
time what it has drawn in all, which then moves from the pool's row to its own. So, whatever becomes
of those who hand it out, what they were given is at least what is left there and what was drawn and
not told yet; and a pool from which nobody draws can go, with all that was lost in it.

Every function is part of a transaction that keeps other writers out.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from trunkline.storage.database import Session

_POOLS = "account = ? AND owner LIKE 'valkey:%'"
_MEMBER = "account = ? AND owner = ?"
_ADD = f"UPDATE ledger_leases SET granted_nusd = granted_nusd + ? WHERE {_MEMBER}"
_INSERT = (
    "INSERT INTO ledger_leases (account, owner, opened_ns, granted_nusd, ingested_nusd) "
    "VALUES (?, ?, ?, 0, 0)"
)
_DESERTED = """owner LIKE 'valkey:%' AND NOT EXISTS (
    SELECT 1 FROM ledger_leases AS m WHERE m.account = ledger_leases.account
    AND m.opened_ns = ledger_leases.opened_ns AND m.owner LIKE '%@%')"""


class Pool(NamedTuple):
    """A pool that may be drawn from."""

    number: int
    """When it was made, in nanoseconds since the epoch: no other one of the account has it."""
    granted_nusd: int


def name(pool: int) -> str:
    """Return the owner that a pool is."""
    return f"valkey:{pool}"


def tell(db: Session, account: int, owner: str, pool: int, drawn_nusd: int) -> bool:
    """Move to `owner` what it has drawn in all and not told before; the same again does nothing.

    False = it does not draw from this pool (any more): all that it ever drew has been moved.
    """
    member = f"{owner}@{pool}"
    row = db.execute(
        f"SELECT granted_nusd FROM ledger_leases WHERE {_MEMBER}", (account, member)
    ).fetchone()
    if row is None:
        return False
    moved_nusd = drawn_nusd - int(row["granted_nusd"])
    if moved_nusd:
        db.execute(_ADD, (-moved_nusd, account, name(pool)))
        db.execute(_ADD, (moved_nusd, account, owner))
        db.execute(
            f"UPDATE ledger_leases SET granted_nusd = ?, ingested_nusd = ? WHERE {_MEMBER}",
            (drawn_nusd, drawn_nusd, account, member),
        )
    return True


def newest(db: Session, account: int) -> Pool | None:
    """Return the pool that whoever comes may join; nobody joins an older one."""
    row = db.execute(
        f"SELECT opened_ns, granted_nusd FROM ledger_leases WHERE {_POOLS} "
        "ORDER BY opened_ns DESC LIMIT 1",
        (account,),
    ).fetchone()
    return Pool(row["opened_ns"], row["granted_nusd"]) if row else None


def every(db: Session, scope: str, period: str, since_ns: int) -> list[tuple[int, int]]:
    """Return bucket and number of each pool of an account from a bucket on."""
    rows = db.execute(
        "SELECT bucket_ns, opened_ns FROM ledger_leases JOIN ledger_accounts ON id = account "
        "WHERE scope = ? AND period = ? AND bucket_ns >= ? AND owner LIKE 'valkey:%'",
        (scope, period, since_ns),
    )
    return [(row["bucket_ns"], row["opened_ns"]) for row in rows]


def make(db: Session, account: int) -> Pool:
    """Make an empty pool, newer than all others of the account."""
    last = newest(db, account)
    number = max(time.time_ns(), last.number + 1 if last else 0)
    db.execute(_INSERT, (account, name(number), number))
    return Pool(number, 0)


def fill(db: Session, account: int, pool: int, nusd: int) -> None:
    """Grant a pool so much, before anybody can draw it."""
    db.execute(_ADD, (nusd, account, name(pool)))


def join(db: Session, account: int, owner: str, pool: int) -> None:
    """Note that `owner` draws from a pool from now on; it has drawn nothing yet."""
    leave(db, account, owner)
    db.execute(_INSERT, (account, f"{owner}@{pool}", pool))


def leave(db: Session, account: int, owner: str) -> None:
    """Note that `owner` draws from no pool any more, and has told all."""
    db.execute(
        "DELETE FROM ledger_leases WHERE account = ? AND owner LIKE ?", (account, f"{owner}@%")
    )


def clear(db: Session, account: int) -> None:
    """Remove the pools from which nobody draws."""
    db.execute(f"DELETE FROM ledger_leases WHERE account = ? AND {_DESERTED}", (account,))


def bury(db: Session, owner: str) -> None:
    """Note that `owner` is dead, and all that it spent is settled."""
    found: list[Any] = db.execute(
        "SELECT account FROM ledger_leases WHERE owner LIKE ? "
        "AND account IN (SELECT account FROM ledger_leases WHERE owner = ?)",
        (f"{owner}@%", owner),
    ).fetchall()
    for row in found:
        leave(db, row["account"], owner)
        clear(db, row["account"])
