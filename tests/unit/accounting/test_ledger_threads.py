"""Threads, loops, forks and cancellation: nothing is lost, nothing stays held."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.ledgers import TARGET, ask, budget, by, ledger_of, quote, spend
from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.leases import Grant, Refusal, Want
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.purses import Shared
from trunkline.errors import BudgetHeld
from trunkline.testing import ManualClock
from trunkline.types import Cost

ROOT = Path(__file__).parents[3]


def test_threads_keep_the_sums_exact() -> None:
    """Begin and end from many threads at once lose and invent nothing."""
    ledger = ledger_of(budget(amount_nusd=10**9), budget("provider:p", 10**9))
    account, other = ledger.accounts()
    interval_s = sys.getswitchinterval()

    async def spend() -> None:
        for number in range(400):
            tab = ledger.open(ask())
            hold = await tab.begin(TARGET, quote(10))
            if number % 2:
                tab.end(hold, Cost(7))
            else:
                tab.close()

    threads = [threading.Thread(target=lambda: asyncio.run(spend())) for _ in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    for each in (account, other):
        assert (each.held_nusd, each.settled_nusd) == (0, 8 * 200 * 7)


async def test_a_reply_dropped_in_the_middle_of_a_hold_is_settled() -> None:
    """The collector may run an old call's tail while this thread is in the ledger."""
    old: list[Callable[[], None]] = []

    def settled(scope: str, since_ns: int) -> int:
        for tail in old:
            tail()
        return 0

    ledger = ledger_of(budget("user:u"), budget("user:v"), leases=InProcessLeases(settled))
    first = ledger.open(by("u"))
    hold = await first.begin(TARGET, quote(60))
    old.append(lambda: first.end(hold, Cost(25)))
    await ledger.open(by("v")).begin(TARGET, quote(60))
    assert old
    one, two = ledger.accounts()
    assert (one.settled_nusd, one.held_nusd, two.held_nusd) == (25, 0, 60)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_afresh() -> None:
    """What the parent's calls hold, and a lock one of its threads had, are not the child's."""
    ledger = ledger_of(budget())
    (account,) = ledger.accounts()
    asyncio.run(ledger.open(ask()).begin(TARGET, quote(60)))
    locked, done = threading.Event(), threading.Event()

    def busy() -> None:
        with ledger._purses.lock:
            locked.set()
            done.wait()

    thread = threading.Thread(target=busy)
    thread.start()
    locked.wait()
    if (child := os.fork()) == 0:
        asyncio.run(ledger.open(ask()).begin(TARGET, quote(100)))
        os._exit(0 if account.held_nusd == 100 else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
    assert account.held_nusd == 60


class Slow(InProcessLeases):
    """Leases that answer when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def grant(
        self, owner: str, wants: Sequence[Want], *, forced: bool = False
    ) -> list[Grant] | Refusal:
        """Wait, then grant."""
        self.asked.set()
        assert self.go.wait(10)
        return super().grant(owner, wants, forced=forced)


def settled_down(ledger: Ledger) -> None:
    """Wait until the ledger's thread has done all it was asked for."""
    ledger._executor().submit(lambda: None).result(10)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_money_alone() -> None:
    """A tail of the parent's call may run in it; nothing of that is shared."""
    leases = InProcessLeases()
    ledger = ledger_of(budget(), leases=leases)
    hold = asyncio.run(ledger.hold(ask(), TARGET, quote(60)))
    ledger.tend()
    if (child := os.fork()) == 0:
        ledger.settle(hold.amounts, Cost(70))
        ledger.tend()
        ledger.close()
        (account,) = ledger.accounts()
        seen = leases.look("global", "total", account.purse.window)
        os._exit(0 if (seen.exposed_nusd, account.settled_nusd) == (0, 0) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("when", ["asked", "answered"])
async def test_who_is_cancelled_leaves_nothing_held(when: str) -> None:
    """While the shared account is asked, or when its answer is there but nobody has taken it."""
    leases, woken = Slow(), []
    shared = Shared(leases, lambda: "a", wake=lambda: woken.append(True))
    ledger = Ledger([budget(), budget("user:u")], ManualClock(), shared)
    task = asyncio.create_task(ledger.open(by("u")).begin(TARGET, quote(60)))
    assert await asyncio.to_thread(leases.asked.wait, 10)
    if when == "asked":
        task.cancel()
        leases.go.set()
        settled_down(ledger)
    else:
        leases.go.set()
        settled_down(ledger)
        assert [account.held_nusd for account in ledger.accounts()] == [60, 60]
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [account.held_nusd for account in ledger.accounts()] == [0, 0]
    assert len(woken) == 2  # for what was granted, and for what was let go
    ledger.close()
    for account in ledger.accounts():
        seen = leases.look(account.rule.scope, account.period, account.purse.window)
        assert seen.exposed_nusd == 0


async def test_who_is_cancelled_in_line_is_never_asked_for() -> None:
    """The thread was busy for another one."""
    leases = Slow()
    ledger = ledger_of(budget(), budget("user:u"), leases=leases)
    first = asyncio.create_task(ledger.open(ask()).begin(TARGET, quote(60)))
    assert await asyncio.to_thread(leases.asked.wait, 10)
    second = asyncio.create_task(ledger.open(by("u")).begin(TARGET, quote(10)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    leases.go.set()
    await first
    settled_down(ledger)
    both = [(account.held_nusd, account.purse.open) for account in ledger.accounts()]
    assert both == [(60, True), (0, False)]


async def test_a_slow_engine_delays_nobody_who_has_enough() -> None:
    """Neither the loop nor a call of whose budgets something is left here."""
    leases = Slow()
    leases.go.set()
    ledger = ledger_of(budget(amount_nusd=10_000), budget("user:u"), leases=leases)
    await spend(ledger, 10)
    leases.asked.clear()
    leases.go.clear()
    slow = asyncio.create_task(ledger.open(by("u")).begin(TARGET, quote(60)))
    assert await asyncio.to_thread(leases.asked.wait, 10)
    for _ in range(10):
        await spend(ledger, 10)
    assert not slow.done()
    leases.go.set()
    await slow


def test_several_loops_share_a_ledger() -> None:
    """Each waits for its own answer; none gets what another one holds."""
    ledger = ledger_of(budget(amount_nusd=40))
    got: list[bool] = []

    async def begin() -> None:
        try:
            await ledger.open(ask()).begin(TARGET, quote(10))
        except BudgetHeld:
            got.append(False)
        else:
            got.append(True)

    threads = [threading.Thread(target=lambda: asyncio.run(begin())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 4 + [True] * 4
    assert ledger.accounts()[0].held_nusd == 40


def test_a_dropped_ledger_leaves_no_thread() -> None:
    """Without being closed."""
    ledger = ledger_of(budget())
    asyncio.run(ledger.open(ask()).begin(TARGET, quote(10)))
    assert ledger._hands is not None
    (thread,) = ledger._hands._threads
    del ledger
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_interpreter_that_ends_does_not_wait() -> None:
    """A ledger that was used and not closed keeps nobody."""
    script = (
        "import asyncio; from tests.ledgers import *; ledger = ledger_of(budget());"
        "asyncio.run(ledger.open(ask()).begin(TARGET, quote(10)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        cwd=ROOT,
        timeout=20,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
