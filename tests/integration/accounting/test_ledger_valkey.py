"""Whatever Valkey forgets or repeats, and wherever PostgreSQL breaks off: limits hold."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from tests import examples
from tests.ledgers import Flaky, SqlEngine
from tests.servers import Valkey as Server
from tests.unit.accounting.test_ledger_machine import COST, HARD, STRICT, WHO, Machine, Process
from trunkline.accounting.leases import Unsure
from trunkline.clock import Clock
from trunkline.config import BudgetRule
from trunkline.errors import RecordError
from trunkline.storage import pooled, valkey_leases
from trunkline.storage.database import Database, Session
from trunkline.storage.pooled import Share
from trunkline.storage.postgres import PostgresDatabase
from trunkline.storage.valkey import Valkey
from trunkline.storage.valkey_leases import ValkeyLeases


class Uncertain(Valkey):
    """Valkey that may be away, or not say whether it has done anything."""

    fault = ""
    runs = 0

    @property
    def usable(self) -> bool:
        return self.fault != "away"

    def run(self, what: str, keys: Sequence[str], given: Sequence[int]) -> list[int] | None:
        self.runs += 1
        if self.fault == "before":
            return None
        answer = super().run(what, keys, given)
        return None if self.fault == "after" else answer


class Breaking:
    """A database that breaks off where it writes."""

    def __init__(self, database: Database) -> None:
        self.name, self.words = database.name, database.words
        self._database = database
        self.fault = ""

    @contextlib.contextmanager
    def session(self, *, write: bool = False, durable: bool = False) -> Iterator[Session]:
        with self._database.session(write=write, durable=durable) as db:
            yield db
            if write and self.fault == "before":
                raise RecordError("it broke off")
            if write and self.fault == "undone":
                raise Unsure("it broke off while it ended")
        if write and self.fault == "done":
            raise Unsure("it broke off while it ended")

    def close(self) -> None:
        """Let go of nothing: others use it."""


class Own:
    """The leases of one process, away when the others' are."""

    def __init__(self, leases: ValkeyLeases, others: Flaky) -> None:
        self.leases, self._others = leases, others

    def __getattr__(self, name: str) -> Any:
        if self._others.away:
            raise RecordError("the store is away")
        return getattr(self.leases, name)


class OwnProcess(Process):
    """A process with leases of its own, which a fork forgets."""

    def __init__(
        self,
        owner: str,
        rules: tuple[BudgetRule, ...],
        leases: Own,
        clock: Clock,
        drawing: list[dict[Any, Share]],
    ) -> None:
        self._leases, self._drawing = leases.leases, drawing
        super().__init__(owner, rules, cast(Flaky, leases), clock)

    def begin_life(self, owner: str) -> None:
        self._leases.leave_parent()
        self._drawing.append(self._leases._shares)  # once each: what is drawn is added up
        super().begin_life(owner)


class ValkeyMachine(Machine):
    """The same, with Valkey in front."""

    def __init__(self, server: Server, engine: SqlEngine, rules: tuple[BudgetRule, ...]) -> None:
        self.server = server
        self.drawing: list[dict[Any, Share]] = []
        self.valkey, self.database = Uncertain(server.url), Breaking(engine.database)
        self.observer = Valkey(server.url)
        super().__init__(engine, rules)

    def start(self) -> Process:
        """Start a process."""
        self.owners += 1
        own = Own(ValkeyLeases(self.database, self.valkey), self.leases)
        return OwnProcess(f"o{self.owners}", self.budgets, own, self.clock, self.drawing)

    @rule()
    def flush(self) -> None:
        """Valkey forgets all."""
        self.server.flush()

    @rule(fault=st.sampled_from(["", "away", "before", "after"]))
    def unsure(self, fault: str) -> None:
        """Valkey goes away, or nobody knows what it does, or it is back."""
        self.valkey.fault = fault

    @rule(fault=st.sampled_from(["before", "undone", "done"]), who=WHO, nusd=COST)
    def break_off(self, fault: str, who: int, nusd: int) -> None:
        """PostgreSQL breaks off while it is asked."""
        self.database.fault = fault
        self.begin(who=who, user="u", estimate_nusd=nusd, more_nusd=0, cancelled=False)
        with contextlib.suppress(RecordError):
            self.one(who).ledger.tend()
        self.database.fault = ""

    def counts(self, settled_nusd: int, exposed_nusd: int, rule: BudgetRule) -> bool:
        """What was drawn, spent and ingested counts twice until it is told: never too little."""
        return True

    @invariant()
    def pools_have_been_granted_what_they_gave(self) -> None:
        """At least what is left in Valkey, and what anybody, dead or alive, drew and did not tell.

        Nobody tells for the dead; what they spent is settled when their pool goes.
        """
        with cast(SqlEngine, self.engine).database.session() as db:
            rows = db.execute(
                "SELECT scope, period, bucket_ns, owner, opened_ns, granted_nusd "
                "FROM ledger_leases JOIN ledger_accounts ON id = account"
            ).fetchall()
        told = {(*row[:3], row["owner"]): row["granted_nusd"] for row in rows}
        for scope, period, bucket_ns, owner, pool, granted_nusd in rows:
            if not owner.startswith("valkey:"):
                continue
            key = f"{{trunkline}}:{self.database.name}:{scope}:{period}:{bucket_ns}:{pool}"
            (_, needed_nusd) = self.observer.run("look", [key], [0, 0, 0]) or []
            for shares in self.drawing:
                for (who, *account), share in shares.items():
                    place = (scope, period, bucket_ns, f"{who}@{pool}")
                    if account == [scope, period, bucket_ns] and share.pool == pool:
                        untold_nusd = share.drawn_nusd - told.get(place, share.drawn_nusd)
                        needed_nusd += max(0, untold_nusd)
            assert granted_nusd >= needed_nusd

    def teardown(self) -> None:
        """Valkey is back."""
        self.valkey.fault = ""
        super().teardown()


@pytest.mark.parametrize(
    "take", [examples.few, pytest.param(examples.some, marks=pytest.mark.torture)]
)
@pytest.mark.parametrize("share", [1, 5])
@pytest.mark.parametrize("rules", [STRICT, HARD], ids=["strict", "hard"])
def test_limits_hold_whatever_valkey_does(
    rules: tuple[BudgetRule, ...],
    share: int,
    take: Callable[[], settings],
    patient_valkey: Server,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After every step; and in the end what was lost in it can be spent.

    Budgets are a part of those of the other machine: with less, more is refused.
    """
    rules = tuple(replace(each, amount_nusd=each.amount_nusd // share) for each in rules)
    monkeypatch.setattr(valkey_leases, "_TELL_S", 0)
    monkeypatch.setattr(pooled, "_ALL_TOLD_NS", 0)
    database = PostgresDatabase(database_url)
    leases = ValkeyLeases(database, Valkey(patient_valkey.url))
    with contextlib.closing(leases):
        run_state_machine_as_test(
            cast(
                Any,
                functools.partial(
                    ValkeyMachine, patient_valkey, SqlEngine(database, leases), rules
                ),
            ),
            settings=take(),
        )
