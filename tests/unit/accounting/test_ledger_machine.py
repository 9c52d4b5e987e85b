"""Any order of events in several processes, deaths and outages included."""

from __future__ import annotations

import functools
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from tests import examples
from tests.ledgers import TARGET, Engine, Flaky, Inline, Journaled, budget, by, ended
from trunkline.accounting.period import window
from trunkline.accounting.purses import Shared
from trunkline.accounting.tab import Held
from trunkline.clock import Clock
from trunkline.config import BudgetRule
from trunkline.errors import LocalRefusal, RecordError
from trunkline.storage.valkey_leases import ValkeyLeases
from trunkline.testing import ManualClock
from trunkline.types import Cost, Quote
from trunkline.types.record import Begun, Record

HOUR_S = 3600
STRICT = (
    budget(amount_nusd=1000, mode="strict"),
    budget("user:u", 300, mode="strict", period="day", rolling=True),
    budget("user:u", 500, mode="strict", period="week"),
)
HARD = (
    budget(amount_nusd=1000),
    budget("user:u", 300, period="day", rolling=True),
    budget("user:u", 500, period="week"),
)
SOFT = budget("user:v", 400, mode="soft", alert_at=(0.5,))
MIXED = (budget(amount_nusd=1000, mode="strict"), budget("user:u", 300, period="day"), SOFT)


class Attempt(Struct, eq=False):
    """One attempt, and what the test knows of it."""

    begun: Begun
    user: str | None
    estimate_nusd: int
    proven_nusd: int
    held: Held | None
    cost_nusd: int | None = None

    def amount(self, rule: BudgetRule) -> int:
        """What a budget holds for it."""
        return self.proven_nusd if rule.mode == "strict" else self.estimate_nusd

    def pays(self, rule: BudgetRule, since_ns: int) -> bool:
        """Whether it counts in a budget's window."""
        mine = rule.scope in {"global", f"user:{self.user}"}
        return mine and self.begun.started_ns >= since_ns


class Process:
    """A process: what it remembers, and what its journal has on the disk."""

    def __init__(self, owner: str, rules: tuple[BudgetRule, ...], leases: Flaky, clock: Clock):
        self.ledger = Inline(rules, clock, Shared(leases, lambda: self.owner))
        self.begin_life(owner)

    def begin_life(self, owner: str) -> None:
        """Have a journal of its own."""
        self.owner = owner
        self.journal = Journaled(owner)
        self.written: list[Record] = []
        self.unwritten: list[Record] = []
        self.under_way: list[Attempt] = []

    def write(self) -> None:
        """Bring to the disk what waits."""
        self.written += self.unwritten
        self.unwritten = []


class Grave:
    """What a dead process left on the disk."""

    def __init__(self, process: Process) -> None:
        self.owner = process.owner
        self.written = process.written
        self.open = [*process.under_way]


COST = st.integers(0, 40)
WHO = st.integers(0, 5)


class Machine(RuleBasedStateMachine):
    """Whatever happens, limits hold and no money is lost."""

    def __init__(self, engine: Engine, rules: tuple[BudgetRule, ...]) -> None:
        super().__init__()
        engine.reset()
        self.engine, self.budgets = engine, rules
        self.leases = Flaky(engine.leases)
        self.clock = ManualClock(start_ns=1_800_000_000 * 10**9)
        self.attempts: list[Attempt] = []
        self.owners = self.steps = 0
        self.graves: list[Grave] = []
        self.processes = [self.start(), self.start()]

    def start(self) -> Process:
        """Start a process."""
        self.owners += 1
        return Process(f"o{self.owners}", self.budgets, self.leases, self.clock)

    def one(self, who: int) -> Process:
        """Return a process that lives."""
        return self.processes[who % len(self.processes)]

    # --- what may happen ----------------------------------------------------------------------

    @rule(
        who=WHO,
        user=st.sampled_from(["u", "v", None]),
        estimate_nusd=COST,
        more_nusd=st.integers(0, 10),
        cancelled=st.booleans(),
    )
    def begin(
        self, who: int, user: str | None, estimate_nusd: int, more_nusd: int, cancelled: bool
    ) -> None:
        """Begin an attempt, which may be refused, or given up before it is journaled."""
        process, proven_nusd = self.one(who), estimate_nusd + more_nusd
        hold = process.ledger.hold(by(user), TARGET, Quote(estimate_nusd, proven_nusd))
        try:
            hold.send(None)
        except StopIteration as done:
            held = done.value
        except (LocalRefusal, RecordError):
            return
        if cancelled:
            process.ledger.settle(held.amounts, Cost(0))
            return
        begun = process.journal.begun(held, user)
        attempt = Attempt(begun, user, estimate_nusd, proven_nusd, held)
        process.unwritten.append(begun)
        process.write()
        process.under_way.append(attempt)
        self.attempts.append(attempt)

    @rule(who=WHO, which=st.integers(0, 9), share=st.integers(0, 100), excess=st.integers(0, 30))
    def end(self, who: int, which: int, share: int, excess: int) -> None:
        """End an attempt; where its hold was no proof it may cost more."""
        process = self.one(who)
        if process.under_way:
            attempt = process.under_way.pop(which % len(process.under_way))
            nusd = attempt.proven_nusd * share // 100
            if self.budgets is HARD:
                nusd += excess
            self.finish(process, attempt, nusd)

    def finish(self, process: Process, attempt: Attempt, nusd: int) -> None:
        """Settle and journal."""
        assert attempt.held is not None
        process.ledger.settle(attempt.held.amounts, Cost(nusd))
        attempt.cost_nusd = nusd
        process.unwritten.append(ended(attempt.begun, nusd))

    @rule(who=WHO)
    def tend(self, who: int) -> None:
        """Housekeeping."""
        try:
            self.one(who).ledger.tend()
        except RecordError:
            assert self.leases.away

    @rule(who=WHO, most=st.integers(1, 6))
    def ingest(self, who: int, most: int) -> None:
        """A part of a journal is ingested, of a living process or a dead one."""
        every: list[Process | Grave] = [*self.processes, *self.graves]
        source = every[who % len(every)]
        if isinstance(source, Process):
            source.write()
        part, source.written = source.written[:most], source.written[most:]
        self.engine.ingest(source.owner, part)
        if isinstance(source, Grave) and not source.written:
            self.bury(source)

    def bury(self, grave: Grave) -> None:
        """All of a dead process is ingested."""
        self.engine.ingest(grave.owner, grave.written)
        self.engine.bury(grave.owner)
        self.graves.remove(grave)
        for attempt in grave.open:
            attempt.cost_nusd = attempt.begun.hold_nusd

    @precondition(lambda self: self.owners < 8)
    @rule(who=WHO, forks=st.booleans())
    def die(self, who: int, forks: bool) -> None:
        """A process is killed; its forked child or a new one takes its place."""
        process = self.one(who)
        lost = {record.call_id for record in process.unwritten}
        grave = Grave(process)
        for attempt in self.attempts:
            if attempt.begun.call_id in lost:
                attempt.cost_nusd = None  # nobody has heard of its end
                grave.open.append(attempt)
        self.graves.append(grave)
        if forks:
            self.owners += 1
            process.begin_life(f"o{self.owners}")
            process.ledger._leave_parent()
        else:
            self.processes[self.processes.index(process)] = self.start()

    @precondition(lambda self: len(self.processes) < 4)
    @rule()
    def join(self) -> None:
        """One more process."""
        self.processes.append(self.start())

    @rule(seconds=st.sampled_from([1, HOUR_S, 5 * HOUR_S, 24 * HOUR_S]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule()
    def away(self) -> None:
        """The store goes away, or comes back."""
        self.leases.away = not self.leases.away

    # --- what always holds --------------------------------------------------------------------

    def counted(self, rule: BudgetRule) -> list[Attempt]:
        """Return what a budget counts now."""
        since_ns = window(rule.period, self.clock.now_ns(), rolling=rule.rolling).start_ns
        return [each for each in self.attempts if each.pays(rule, since_ns)]

    def counts(self, settled_nusd: int, exposed_nusd: int, rule: BudgetRule) -> bool:
        """Whether the engine knows of no more than the limit of a strict budget.

        What was drawn from Valkey, spent and ingested counts twice until it is told, never less.
        """
        pooled = isinstance(self.engine.leases, ValkeyLeases)
        return pooled or settled_nusd + exposed_nusd <= rule.amount_nusd

    def looked(self, rule: BudgetRule) -> tuple[int, int, int]:
        """Return what the engine knows of a budget."""
        account = self.processes[0].ledger.accounts()[self.budgets.index(rule)]
        return self.engine.leases.look(rule.scope, account.period, account.purse.window)

    @invariant()
    def limits_hold(self) -> None:
        """To the nano-dollar where bounds are proven; else but for what single attempts exceed.

        To ask a server takes long, so after each step it is asked of one budget, in turn.
        """
        self.steps += 1
        for place, each in enumerate(self.budgets):
            counted = self.counted(each)
            over = sum(max(0, (a.cost_nusd or 0) - a.amount(each)) for a in counted)
            used = sum(a.amount(each) if a.cost_nusd is None else a.cost_nusd for a in counted)
            if each.mode == "strict":
                assert over == 0
            if each.mode != "soft":
                assert used <= each.amount_nusd + over
            if place == self.steps % len(self.budgets):
                settled, exposed, _ = self.looked(each)
                assert each.mode != "strict" or self.counts(settled, exposed, each)
                assert each.mode == "soft" or settled <= each.amount_nusd + over

    def teardown(self) -> None:
        """When all is over, what it cost is settled, and the rest can be spent."""
        self.leases.away = False
        for process in self.processes:
            for attempt in process.under_way:
                self.finish(process, attempt, attempt.proven_nusd)
            process.write()
            self.engine.ingest(process.owner, process.written)
        for grave in [*self.graves]:
            self.bury(grave)
        for _ in range(2):
            for process in self.processes:
                process.ledger.tend()
        for each in self.budgets:
            settled, exposed, _ = self.looked(each)
            assert exposed == 0
            assert settled == sum(a.cost_nusd or 0 for a in self.counted(each))
            assert not any(process.ledger._purses.live for process in self.processes)
        left = min(
            each.amount_nusd - self.looked(each)[0]
            for each in self.budgets
            if each.scope != "user:v"
        )
        if left > 0:
            with pytest.raises(StopIteration):
                self.processes[-1].ledger.hold(by("u"), TARGET, Quote(left, left)).send(None)


RULES = pytest.mark.parametrize("rules", [STRICT, HARD, MIXED], ids=["strict", "hard", "mixed"])


@RULES
def test_any_order_of_events(engine: Engine, rules: tuple[BudgetRule, ...]) -> None:
    """Limits hold after every step; in the end all that was spent is settled, and nothing held."""
    run_state_machine_as_test(
        cast(Any, functools.partial(Machine, engine, rules)), settings=examples.some()
    )
