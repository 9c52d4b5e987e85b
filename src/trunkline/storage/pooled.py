"""What PostgreSQL agrees to where accounts have pools: it hears what was drawn, grants what is
missing, and fills the pools again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from trunkline.accounting.leases import Grant, Lease, Refusal, Seen, Want, afforded, room
from trunkline.storage import pools
from trunkline.storage.database import Session
from trunkline.storage.ledger import FIND, SqlLeases, seen_in

_ALL_TOLD_NS = 2 * 10**9
"""In so much time all who draw have told; what a pool still has then may be lost."""
_MOST_NUSD = 2**52
"""Accounts with a larger limit have no pools: Lua counts exactly up to 2**53."""


class Share(Struct):
    """What an owner draws from a pool of one account."""

    pool: int = 0
    """0 = from none."""
    drawn_nusd: int = 0
    """In all, less what it gave back to the pool."""
    told_nusd: int = 0
    """Of that, what PostgreSQL may have been told: it goes back to no pool."""
    told_s: float = 0.0
    others_nusd: int = 0
    """Spent in the window besides what the owner spent, when PostgreSQL was last asked."""
    moved: bool = True
    """Whether anything was drawn since the last look."""
    doubtful: bool = False
    """Whether PostgreSQL broke off, and may know more than is written here."""

    @property
    def spare_nusd(self) -> int:
        """What may go back to the pool."""
        return 0 if self.doubtful else max(0, self.drawn_nusd - self.told_nusd)


class Ask(Struct):
    """One account that is asked, and what has become of it."""

    want: Want
    share: Share
    swept_nusd: int = 0
    """Drawn for this, and not kept where it is refused."""
    lost: bool = False
    """Whether nobody hands out the pool."""
    doubted: bool = False
    """Whether the share was doubtful before."""
    number: int = 0
    lease: Lease | None = None
    pool: pools.Pool | None = None
    """Which is drawn from afterwards."""
    joined: bool = False
    filled_nusd: int = 0
    ended: int = 0
    """The pool that is to be handed out no more; 0 = none."""

    @property
    def limit_nusd(self) -> int:
        """The limit, of an account that has one."""
        return self.want.limit_nusd or 0

    @property
    def poolable(self) -> bool:
        """Whether the account may have pools."""
        return self.want.limit_nusd is not None and self.limit_nusd <= _MOST_NUSD

    @property
    def drawable(self) -> bool:
        """Whether what is needed may be drawn."""
        share = self.share
        return share.pool > 0 and not share.doubtful and self.poolable and self.want.need_nusd > 0

    def settle(self, grant: Grant | None) -> None:
        """Take over what was agreed."""
        share, pool = self.share, self.pool.number if self.pool else 0
        if grant is not None:
            share.drawn_nusd += self.swept_nusd
            share.others_nusd = grant.spent_nusd - self.want.spent_nusd
        if self.joined or not pool:
            share.drawn_nusd = 0
        share.pool, share.told_nusd, share.doubtful = pool, share.drawn_nusd, False
        share.moved, share.told_s = True, time.monotonic()


class PooledLeases(SqlLeases):
    """The leases in a database, some of whose money is handed out elsewhere."""

    def agree(
        self, db: Session, owner: str, asks: Sequence[Ask], *, forced: bool, usable: bool
    ) -> list[Grant] | Refusal:
        """Grant what was not drawn, all or nothing.

        Args:
            usable: somebody is there to hand out pools.
        """
        numbers = self._accounts(db, [ask.want for ask in asks])
        for ask, number in zip(asks, numbers, strict=True):
            ask.number = number
            self._enter(db, owner, ask, forced=forced, usable=usable)
        grants: list[Grant] = []
        left: list[int] = []
        for place, ask in enumerate(asks):
            assert ask.lease is not None
            want = ask.want._replace(need_nusd=ask.want.need_nusd - ask.swept_nusd)
            seen = seen_in(db, want.scope, want.period, want.window)
            spent_nusd = seen.settled_nusd + max(0, want.spent_nusd - ask.lease.ingested_nusd)
            nusd = want.need_nusd if forced else room(want, seen, ask.lease)
            if nusd is None:
                over = seen.settled_nusd + seen.exposed_nusd > ask.limit_nusd
                _refuse(db, owner, asks, ask, over=over)
                return Refusal(place, spent_nusd, afforded(want, seen, ask.lease))
            grants.append(Grant(nusd + ask.swept_nusd, spent_nusd))
            left.append(_left(ask.limit_nusd, seen, ask.lease, nusd))
        db.executemany(
            "UPDATE ledger_leases SET granted_nusd = granted_nusd + ? "
            "WHERE account = ? AND owner = ?",
            [(g.nusd - a.swept_nusd, a.number, owner) for a, g in zip(asks, grants, strict=True)],
        )
        for ask, left_nusd in zip(asks, left, strict=True):
            if ask.poolable:
                _fill(db, owner, ask, left_nusd, most=0 if forced or not usable else left_nusd // 2)
        return grants

    def hear(
        self, db: Session, owner: str, account: Sequence[object], share: Share, *, leaves: bool
    ) -> None:
        """Hear what was drawn of an account, given by scope, period and bucket."""
        row = db.execute(FIND, account).fetchone()
        if row is None:
            return
        if share.pool:
            pools.tell(db, row["id"], owner, share.pool, share.drawn_nusd)
        if leaves:
            pools.leave(db, row["id"], owner)
            pools.clear(db, row["id"])

    def _enter(self, db: Session, owner: str, ask: Ask, *, forced: bool, usable: bool) -> None:
        """Hear what was drawn, and note from which pool the owner draws now."""
        share = ask.share
        old, want = share.pool, ask.want
        if old and not pools.tell(db, ask.number, owner, old, share.drawn_nusd + ask.swept_nusd):
            old = ask.swept_nusd = 0  # it has been told before, or was forgotten
        if want.granted_nusd is not None:
            want = want._replace(granted_nusd=want.granted_nusd + ask.swept_nusd)
        ask.lease = self._lease(db, ask.number, owner, want)
        top = pools.newest(db, ask.number)
        if top and ask.lost and top.number == old and top.granted_nusd > 0:
            top = pools.make(db, ask.number)
        if not usable or not ask.poolable or (forced and top and top.number != old):
            top = None
        if ask.swept_nusd and (top is None or top.number != old):
            top = pools.Pool(old, 0)  # which may still be needed; it leaves the next time
        ask.pool = top
        if (top.number if top else 0) == old and (old or not ask.doubted):
            return
        ask.joined = top is not None
        if top:
            pools.join(db, ask.number, owner, top.number)
        else:
            pools.leave(db, ask.number, owner)
        pools.clear(db, ask.number)


def _refuse(db: Session, owner: str, asks: Sequence[Ask], short: Ask, *, over: bool) -> None:
    """Give up what was drawn for nothing; end a pool in which money may be lost, or too much.

    Args:
        over: more is spent or granted than the limit; that was higher before.
    """
    for ask in asks:
        if ask.swept_nusd:
            pools.tell(db, ask.number, owner, ask.share.pool, ask.share.drawn_nusd)
            pools.fill(db, ask.number, ask.share.pool, -ask.swept_nusd)
    if short.pool and (over or time.time_ns() - short.pool.number > _ALL_TOLD_NS):
        _end(db, owner, short)


def _fill(db: Session, owner: str, ask: Ask, left_nusd: int, most: int) -> None:
    """Grant the pool `most` where that is worth it; none may be drawn where all is spent."""
    if left_nusd < 0:
        _end(db, owner, ask)
    elif most >= max(1, ask.want.amount_nusd):
        if ask.pool is None:
            ask.pool, ask.joined = pools.make(db, ask.number), True
            pools.join(db, ask.number, owner, ask.pool.number)
        pools.fill(db, ask.number, ask.pool.number, most)
        ask.filled_nusd = most


def _end(db: Session, owner: str, ask: Ask) -> None:
    """Have everybody leave the pool for another one."""
    if ask.pool and ask.pool.granted_nusd > 0:
        ask.ended, ask.joined = ask.pool.number, True
        ask.pool = pools.make(db, ask.number)
        pools.join(db, ask.number, owner, ask.pool.number)
        pools.clear(db, ask.number)


def _left(limit_nusd: int, seen: Seen, lease: Lease, nusd: int) -> int:
    """Return what nobody has spent or was granted, once so much more is granted."""
    ahead_nusd = max(0, lease.ingested_nusd - lease.granted_nusd)
    return limit_nusd - seen.settled_nusd - seen.exposed_nusd - max(0, nusd - ahead_nusd)
