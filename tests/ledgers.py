"""What tests of the ledger share: rules, calls, and every engine behind one face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.leases import Leases
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.period import Window
from trunkline.accounting.purses import Shared
from trunkline.accounting.tab import Held
from trunkline.clock import Clock
from trunkline.config import BudgetRule
from trunkline.errors import RecordError
from trunkline.journal.ingest import recover
from trunkline.storage.database import Database
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.store import Store
from trunkline.testing import ManualClock
from trunkline.types import Call, Chat, Cost, Deployment, Principal, Prompt, Quote
from trunkline.types.record import Begun, Ended, Record

TARGET = Deployment(provider="p", model="m")
_TABLES = (
    "attempts", "calls", "journals", "journal_offsets", "usage_sums", "usage_days",
    "usage_spans", "call_tags", "scope_sums", "ledger_accounts", "ledger_leases",
)  # fmt: skip


def budget(scope: str = "global", amount_nusd: int = 100, **fields: Any) -> BudgetRule:
    """Make a rule."""
    return BudgetRule(**{"scope": scope, "amount_nusd": amount_nusd, "period": "total", **fields})


def ask(**fields: Any) -> Call:
    """Make a call."""
    return Chat(**{"model": "m", "body": Prompt(messages=()), **fields})


def by(user_id: str | None) -> Call:
    """Make a call of a user."""
    return ask(principal=Principal(user_id=user_id))


def quote(estimate_nusd: int, proven_nusd: int | None = None) -> Quote:
    """Make a quote."""
    return Quote(estimate_nusd, proven_nusd)


async def spend(ledger: Ledger, nusd: int, call: Call | None = None) -> None:
    """Make an attempt that costs what it held."""
    tab = ledger.open(call or ask())
    tab.end(await tab.begin(TARGET, Quote(nusd, nusd)), Cost(nusd))


def shared(leases: Leases, owner: str = "a", **hooks: Callable[[], None]) -> Shared:
    """Share `leases` as `owner`."""
    return Shared(leases, lambda: owner, **hooks)


def ledger_of(
    *rules: BudgetRule, leases: Leases | None = None, owner: str = "a", clock: Clock | None = None
) -> Ledger:
    """Make the ledger of one process."""
    return Ledger(rules, clock or ManualClock(), shared(leases or InProcessLeases(), owner))


class Inline(Ledger):
    """Asks the engine at once and here."""

    async def _slowly(self, work: Any, *args: Any) -> Any:
        return work(*args)


class Journaled:
    """The records of one owner as a process would write them."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.calls = 0

    def begun(self, held: Held, user_id: str | None = None) -> Begun:
        """Return the next attempt, as it was held."""
        self.calls += 1
        return Begun(
            call_id=f"{self.owner}-{self.calls}",
            n=1,
            started_ns=held.at_ns,
            deployment=TARGET.name,
            model="m",
            hold_nusd=held.nusd,
            user_id=user_id,
        )


def ended(begun: Begun, cost_nusd: int) -> Ended:
    """Return the end of an attempt."""
    return Ended(
        call_id=begun.call_id, n=1, outcome="complete", cost_nusd=cost_nusd, cost_state="exact"
    )


class SqlEngine:
    """The leases in a database, and the records beside them."""

    def __init__(self, database: Database, leases: SqlLeases | None = None) -> None:
        self.leases = leases or SqlLeases(database)
        self.database = database
        self._store = Store(database)

    def reset(self) -> None:
        """Begin with nothing."""
        with self._store.database.session(write=True) as db:
            for table in _TABLES:
                db.execute(f"DELETE FROM {table}")

    def ingest(self, owner: str, records: Sequence[Record]) -> None:
        """Take in records of `owner`."""
        file = f"{owner}.000000.log"
        self._store.apply(file, self._store.offset(file) + len(records), records)

    def bury(self, owner: str) -> None:
        """End what a dead owner left open; all its records are in."""
        self.ingest(owner, recover(self._store.loose_ends(owner)))
        self._store.release(owner)


class InProcessEngine:
    """The leases in memory, with as much of ingestion as they need."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with nothing."""
        self._open: dict[tuple[str, str], Begun] = {}
        self._paid: list[tuple[Begun, int]] = []
        self.leases = _Windows(self._settled)

    def ingest(self, owner: str, records: Sequence[Record]) -> None:
        """Take in records of `owner`."""
        for record in records:
            if isinstance(record, Begun):
                self._open[owner, record.call_id] = record
            elif isinstance(record, Ended):
                begun, nusd = self._open.pop((owner, record.call_id)), record.cost_nusd or 0
                self._paid.append((begun, nusd))
                for key, row in self.leases._rows.items():
                    scope, _, bucket_ns = key
                    if (
                        _pays(scope, begun)
                        and bucket_ns <= begun.started_ns < self.leases.ends[key]
                    ):
                        row.settled_nusd += nusd
                        row.ingested[owner] = row.ingested.get(owner, 0) + nusd

    def bury(self, owner: str) -> None:
        """End what a dead owner left open; all its records are in."""
        loose = [begun for (name, _), begun in self._open.items() if name == owner]
        self.ingest(owner, [ended(begun, begun.hold_nusd or 0) for begun in loose])
        for row in self.leases._rows.values():
            row.granted.pop(owner, None)

    def _settled(self, scope: str, since_ns: int) -> int:
        return sum(n for b, n in self._paid if _pays(scope, b) and b.started_ns >= since_ns)


class _Windows(InProcessLeases):
    """Knows where its buckets end."""

    ends: dict[tuple[str, str, int], int]

    def forget(self) -> None:
        super().forget()
        self.ends = {}

    def _row(self, scope: str, period: str, window: Window) -> Any:
        self.ends[scope, period, window.bucket_ns] = window.end_ns
        return super()._row(scope, period, window)


Engine = SqlEngine | InProcessEngine


def _pays(scope: str, begun: Begun) -> bool:
    return scope in {"global", f"user:{begun.user_id}"}


class Flaky:
    """Leases that can be away."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise RecordError("the store is away")
        return getattr(self._leases, name)
