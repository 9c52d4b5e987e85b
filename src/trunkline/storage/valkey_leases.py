"""The shared ledger in PostgreSQL with Valkey in front of it: most holds ask Valkey alone.

PostgreSQL grants a part of what is left of an account to a pool, Valkey hands it out, and every
process tells PostgreSQL within a second or so what it has drawn. See `pools` for why nothing is
spent twice whatever Valkey forgets; what was lost there can be spent again as soon as all who drew
from that pool have told. While Valkey is away PostgreSQL grants alone.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence

from trunkline.accounting.leases import Back, Grant, Refusal, Seen, Want
from trunkline.accounting.period import Window
from trunkline.errors import RecordError
from trunkline.storage import pools
from trunkline.storage.database import Database
from trunkline.storage.ledger import Holding
from trunkline.storage.pooled import Ask, PooledLeases, Share
from trunkline.storage.valkey import Valkey

_TELL_S = 1.0

_Key = tuple[str, str, str, int]
_engines: weakref.WeakSet[ValkeyLeases] = weakref.WeakSet()


class ValkeyLeases(PooledLeases):
    """Satisfies `Leases`; whatever an owner does, it does by the same one of these."""

    def __init__(self, database: Database, valkey: Valkey) -> None:
        super().__init__(database)
        self._valkey = valkey
        self.leave_parent()
        _engines.add(self)

    def leave_parent(self) -> None:
        """Begin afresh, in a forked child: the shares are its parent's."""
        self._lock = threading.Lock()
        self._shares: dict[_Key, Share] = {}

    def grant(
        self, owner: str, wants: Sequence[Want], *, forced: bool = False
    ) -> list[Grant] | Refusal:
        """Grant all or nothing; see `Leases.grant`."""
        with self._lock:
            answer, joined = self._ask(owner, wants, forced=forced)
            if isinstance(answer, Refusal) and joined:  # the pool may have it
                answer, _ = self._ask(owner, wants, forced=forced)
            return answer

    def give_back(self, owner: str, backs: Sequence[Back]) -> None:
        """Lower what `owner` was granted; what PostgreSQL was not told goes to the pool."""
        with self._lock:
            usable = self._valkey.usable
            rest: list[Back] = []
            keys: list[str] = []
            given: list[tuple[Share, int]] = []
            for back in backs:
                share = self._shares.get((owner, *back[:3]), Share())
                spare_nusd = min(back.nusd, share.spare_nusd) if usable else 0
                if spare_nusd:
                    keys.append(self._name(*back[:3], share.pool))
                    given.append((share, spare_nusd))
                if back.nusd > spare_nusd:
                    rest.append(back._replace(nusd=back.nusd - spare_nusd))
            if rest:
                super().give_back(owner, rest)
            for share, nusd in given:
                share.drawn_nusd -= nusd
            self._valkey.run("give", keys, [n for _, nusd in given for n in (nusd, 0, 0)])

    def look(self, scope: str, period: str, window: Window) -> Seen:
        """Return the state of one account; what is left in pools is not exposed."""
        seen = super().look(scope, period, window)
        with self._database.session() as db:
            found = pools.every(db, scope, period, window.start_ns)
        keys = [self._name(scope, period, bucket_ns, pool) for bucket_ns, pool in found]
        left = self._valkey.run("look", keys, [0, 0, 0] * len(keys)) or [0]
        return seen._replace(exposed_nusd=seen.exposed_nusd - sum(left[1:]))

    def holdings(self) -> list[Holding]:
        """Return what owners were granted and have neither used nor given back."""
        return [each for each in super().holdings() if not each.owner.startswith("valkey:")]

    def tend(self) -> bool:
        """Tell PostgreSQL what was drawn, and draw no more where nothing moves."""
        with self._lock:
            self._tell()
            return bool(self._shares)

    def close(self) -> None:
        """Tell all that was drawn, and let go of both servers; a later use opens them again."""
        with self._lock:
            for share in self._shares.values():
                share.moved = False
            self._tell()
        self._valkey.close()
        super().close()

    def _ask(
        self, owner: str, wants: Sequence[Want], *, forced: bool
    ) -> tuple[list[Grant] | Refusal, bool]:
        """Ask Valkey, and PostgreSQL for what is missing; say also whether a pool was joined."""
        asks = [Ask(want, self._shares.get(_key(owner, want)) or Share()) for want in wants]
        drawable = not forced and all(ask.drawable for ask in asks)
        if drawable and (grants := self._draw(asks)):
            return grants, False
        for ask in asks:
            ask.doubted, ask.share.doubtful = ask.share.doubtful, True
            self._shares[_key(owner, ask.want)] = ask.share
        usable = self._valkey.usable
        with self._database.session(write=True) as db:
            answer = self.agree(db, owner, asks, forced=forced, usable=usable)
        for place, ask in enumerate(asks):
            ask.settle(None if isinstance(answer, Refusal) else answer[place])
            if not ask.share.pool:
                del self._shares[_key(owner, ask.want)]
        self._hand_out(asks)
        return answer, any(ask.joined for ask in asks)

    def _draw(self, asks: Sequence[Ask]) -> list[Grant] | None:
        """Draw what is needed; None = that was too little, and is for PostgreSQL to add to."""
        keys = [self._name(*_key("", ask.want)[1:], ask.share.pool) for ask in asks]
        given = [n for ask in asks for n in _numbers(ask, ask.want.need_nusd)]
        answer = self._valkey.run("take", keys, given)
        if answer is None:
            return None
        for ask, nusd in zip(asks, answer[1:], strict=True):
            ask.share.moved = True
            if answer[0]:
                ask.share.drawn_nusd += nusd
            else:
                ask.swept_nusd, ask.lost = max(0, nusd), nusd < 0
        if not answer[0]:
            return None
        return [
            Grant(nusd, ask.share.others_nusd + ask.want.spent_nusd)
            for ask, nusd in zip(asks, answer[1:], strict=True)
        ]

    def _hand_out(self, asks: Sequence[Ask]) -> None:
        """Have Valkey know what was agreed."""
        for what, them in (
            ("end", [(ask, ask.ended, 0) for ask in asks if ask.ended]),
            ("fill", [(ask, ask.share.pool, ask.filled_nusd) for ask in asks if ask.filled_nusd]),
        ):
            keys = [self._name(*_key("", ask.want)[1:], pool) for ask, pool, _ in them]
            self._valkey.run(what, keys, [n for ask, _, nusd in them for n in _numbers(ask, nusd)])

    def _tell(self) -> None:
        """Tell what is due; if PostgreSQL is away, the next time."""
        now_s, usable = time.monotonic(), self._valkey.usable
        due: list[tuple[_Key, Share, bool]] = []
        for key, share in sorted(self._shares.items(), key=lambda item: item[0]):
            leaves = not share.moved or share.doubtful or not usable
            share.moved = False
            if leaves or now_s - share.told_s >= _TELL_S:
                share.doubtful = True
                due.append((key, share, leaves))
        if not due:
            return
        try:
            with self._database.session(write=True) as db:
                for (owner, *account), share, leaves in due:
                    self.hear(db, owner, account, share, leaves=leaves)
        except RecordError:
            return
        for key, share, leaves in due:
            share.told_nusd, share.told_s, share.doubtful = share.drawn_nusd, now_s, False
            if leaves:
                del self._shares[key]

    def _name(self, scope: str, period: str, bucket_ns: int, pool: int) -> str:
        return f"{{trunkline}}:{self._database.name}:{scope}:{period}:{bucket_ns}:{pool}"


def _numbers(ask: Ask, nusd: int) -> tuple[int, int, int]:
    return nusd, ask.want.amount_nusd, ask.limit_nusd


def _key(owner: str, want: Want) -> _Key:
    return (owner, want.scope, want.period, want.window.bucket_ns)


def _after_fork_in_child() -> None:
    for engine in _engines:
        engine.leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
