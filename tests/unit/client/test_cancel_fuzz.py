"""Whatever await of a call is cut, through all the layers: everything comes back and one row is."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import at_every_await, cancel_at_every_await
from tests.scripted import end, finish, text
from tests.unit.layers.double import STREAM, Answer, Inner, Pages, ask, read
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.rates import InProcessBuckets
from trunkline.client.stack import State, layers
from trunkline.config import BudgetRule, Config, Provider
from trunkline.errors import ConnectionLost, DeadlineExceeded, UpstreamRateLimited
from trunkline.layers.concurrency import Parallel
from trunkline.layers.ratelimit import Limiter
from trunkline.layers.route import Hedges
from trunkline.observability.log import EventLog
from trunkline.routing.health import Health
from trunkline.routing.plan import Planner
from trunkline.routing.retries import RetryBudgets
from trunkline.service import Service, stack
from trunkline.testing import ManualClock
from trunkline.types import (
    Begun,
    Called,
    Deployment,
    Ended,
    Limits,
    Price,
    Principal,
    Prompt,
    RateLimit,
    say,
)

PRICE = Price(input_nusd=3_000_000_000, output_nusd=15_000_000_000)
LIMITS = Limits(max_parallel=1)
"""One slot each, so that a second call has to wait."""
RATES = (RateLimit(scope="test", requests_per_minute=1000, tokens_per_minute=10**6),)
NO = UpstreamRateLimited("later", retry_after_s=0, upstream_status=429)
STORY: tuple[Answer, ...] = (NO, ConnectionLost("reset"), NO, STREAM)
"""Retried twice and given up, failed over, retried, answered."""
BODY = Prompt(messages=(say("user", "hi"),), max_output_tokens=50)
CONFIG = Config(
    default_provider="a",
    fallback_chain=("a", "b"),
    providers={
        name: Provider(
            name=name,
            type="openai_compatible",
            template=Deployment(provider=name, model="", limits=LIMITS, rates=RATES, retries=1),
            models=("m",),
            prices={"m": PRICE},
        )
        for name in ("a", "b")
    },
    data_dir=Path("data"),
    source="test",
)
SILENT = (text("h"), text("i"), finish(), end())
LONG = (text("h"), text("h" + "x" * 4 * 3500), *[text("x")] * 12, finish(), end())
"""Most of what is held for an answer whose cap is far away."""


class Quick(ManualClock):
    """A clock whose sleeps take turns of the loop instead of time."""

    async def sleep(self, delay_s: float) -> None:
        """Take two turns."""
        for _ in range(2):
            await asyncio.sleep(0)


class House:
    """All layers in their order around a provider that takes its turns over everything."""

    def __init__(self, *story: Answer, nusd: int = 10**12, config: Config = CONFIG) -> None:
        self.clock, self.book = Quick(), Pages()
        self.answered = 0
        """How many calls saw their last frame; what comes after is the goodbye to the wire."""
        rules = [
            BudgetRule(scope="global", amount_nusd=nusd, period="day"),
            BudgetRule(scope="user:alice", amount_nusd=10**12, period="total", mode="strict"),
            BudgetRule(scope="deployment:b/m", amount_nusd=10**12, period="month", mode="soft"),
        ]
        self.ledger = Ledger(rules, self.clock)
        self.health = Health()
        estimates = Estimates(proving=True)
        state = State(
            clock=self.clock,
            book=self.book,
            events=EventLog(),
            ledger=self.ledger,
            estimates=estimates,
            health=self.health,
            limiter=Limiter(InProcessBuckets(self.clock.now_ns), estimates),
            parallel=Parallel(self.clock, self.health),
            retries=RetryBudgets(),
            hedges=Hedges(self.clock, self.health),
        )
        self.inner, self.config, self.state = Inner(*story, turns=2), config, state
        planner = Planner(config, self.clock, self.health)
        self.service: Service = stack(layers(planner, state), self.inner)

    async def call(self, *, timeout_s: float | None = 60, **fields: Any) -> None:
        """Make a call and read it to its end."""
        who = Principal(user_id="alice")
        call = ask(**{"body": BODY, "principal": who, "timeout_s": timeout_s, **fields})
        async with await self.service(call) as reply:
            await read(reply)
            self.answered += 1

    def assert_tidy(self, calls: int) -> None:
        """Demand that everything came back and that the rows agree with the money."""
        assert self.inner.open_wires == 0
        assert self.clock.pending == 0
        accounts = self.ledger.accounts()
        assert [account.held_nusd for account in accounts] == [0, 0, 0]
        ended = self.book.of(Ended)
        begun = dict.fromkeys((row.call_id, row.n) for row in self.book.of(Begun))
        assert sorted(begun) == sorted((row.call_id, row.n) for row in ended)
        assert len(begun) == len(self.inner.calls)
        called = self.book.of(Called)
        assert len(called) == calls
        spent_nusd = sum(row.cost_nusd or 0 for row in ended)
        assert spent_nusd == sum(row.cost_nusd or 0 for row in called)
        assert accounts[0].settled_nusd == accounts[1].settled_nusd == spent_nusd
        assert not any(vital.busy for vital in self.health.vitals.values())


async def assert_usable(houses: list[House]) -> None:
    """Demand of each house that it answers another call: no slot and no probe is lost."""
    async with asyncio.timeout(5):
        for house in houses:
            answered = house.answered
            await house.call()
            assert house.answered == answered + 1


@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_at_every_await(times: int) -> None:
    """Of a call that is retried, failed over, retried and streamed; the clean-up is cut as well."""
    houses: list[House] = []

    async def make() -> None:
        house = House(*STORY)
        houses.append(house)
        await house.call()

    def check(k: int) -> None:
        house = houses[-1]
        house.assert_tidy(calls=1)
        (called,) = house.book.of(Called)
        if house.answered:
            assert called.outcome == "complete"
        else:
            assert (called.outcome, called.error_code) == ("cancelled", "CancelledError")

    awaits = await cancel_at_every_await(make, check, times=times)
    assert awaits >= 4 * 2 + 2 * 2 + 5 * 2
    houses[-1].assert_tidy(calls=1)
    assert houses[-1].book.of(Called)[0].outcome == "complete"
    await assert_usable(houses)


async def test_out_of_time_at_every_await() -> None:
    """The caller's time-out may fall into any await: one error, one row, nothing left."""
    houses: list[House] = []

    async def make() -> str:
        house = House(*STORY)
        houses.append(house)
        try:
            await house.call(timeout_s=60)
        except DeadlineExceeded:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            return "late"
        return "in time"

    def check(k: int, task: asyncio.Task[Any]) -> None:
        house = houses[-1]
        house.assert_tidy(calls=1)
        (called,) = house.book.of(Called)
        if task.result() == "late":
            assert (called.outcome, called.error_code) == ("failed", "deadline_exceeded")
        else:
            assert house.answered
            assert called.outcome == "complete"

    await at_every_await(make, lambda _: houses[-1].clock.advance(60), check)
    await assert_usable(houses)


async def test_cancelled_while_others_wait_for_the_slot() -> None:
    """The second of three that share a slot is cut at each await; the others are answered."""
    houses: list[House] = []
    others: list[asyncio.Task[None]] = []

    async def make() -> None:
        house = House(STREAM)
        houses.append(house)
        others[:] = [asyncio.create_task(house.call())]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(
            lambda: others.append(asyncio.create_task(house.call()))
        )
        await house.call()

    def check(k: int) -> None:
        assert all(other.done() and not other.exception() for other in others)
        outcomes = [called.outcome for called in houses[-1].book.of(Called)]
        assert outcomes.count("complete") == houses[-1].answered
        assert len(outcomes) == (1 if k == 1 else 3)  # at first the other two had not begun
        assert houses[-1].answered >= len(outcomes) - 1
        houses[-1].assert_tidy(calls=len(outcomes))

    await cancel_at_every_await(make, check)


async def test_what_a_silent_provider_cost_is_estimated_alike_in_ledger_and_rows() -> None:
    """Without usage the house is tidy too, at every await."""
    houses: list[House] = []

    async def make() -> None:
        houses.append(House(SILENT))
        await houses[-1].call()

    await cancel_at_every_await(make, lambda k: houses[-1].assert_tidy(calls=1))
    (called,) = houses[-1].book.of(Called)
    assert (called.outcome, called.cost_state) == ("complete", "estimated")
    assert called.cost_nusd


class Near(Ledger):
    """Asks its accounts in some turns of the loop, not in a thread."""

    async def _slowly(self, work: Any, *args: Any) -> Any:
        for _ in range(2):
            await asyncio.sleep(0)
        return work(*args)


@pytest.mark.parametrize("room", [2, 100], ids=["cut", "topped up"])
@pytest.mark.parametrize("act", ["look", "cancel"])
async def test_a_hold_that_is_used_up(room: int, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a long stream, and a cancellation after one, at every await of it."""
    monkeypatch.setattr("tests.unit.client.test_cancel_fuzz.Ledger", Near)
    held_nusd = 4096 * PRICE.output_nusd // 10**6
    houses: list[House] = []
    words: set[str] = set()
    body = Prompt(messages=(say("user", "hi"),), max_output_tokens=10**5)

    async def make() -> None:
        houses.append(House(LONG, nusd=held_nusd * (100 + room) // 100))
        await houses[-1].call(stream=True, body=body, timeout_s=None)

    def interfere(task: asyncio.Task[Any]) -> None:
        houses[-1].clock.advance(0.5)
        if act == "cancel" and houses[-1].clock.monotonic_s() >= 7:
            task.cancel()

    def check(k: int, task: asyncio.Task[Any]) -> None:
        houses[-1].assert_tidy(calls=1)
        (called,) = houses[-1].book.of(Called)
        words.update(word.rpartition(" ")[2] for word in called.route)
        words.update(["topped up"] if len(houses[-1].book.of(Begun)) > 1 else ())
        # Cancelled while the wire says goodbye, it is complete all the same.
        assert called.outcome in {"complete", "cancelled" if task.cancelled() else "complete"}

    await at_every_await(make, interfere, check, times=14)
    assert ("budget_cut" in words, "topped up" in words) == (room == 2, room == 100)
