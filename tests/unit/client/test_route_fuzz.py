"""Whatever await is cut while two are asked, or an answer goes on: everything comes back."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.fuzz import at_every_await, cancel_at_every_await
from tests.scripted import end, finish, text, usage
from tests.unit.client.test_cancel_fuzz import BODY, CONFIG, House, assert_usable
from tests.unit.layers.double import STREAM, ask, read
from trunkline.client.stack import layers
from trunkline.config import Config
from trunkline.config.model import Group, Hedge
from trunkline.errors import ConnectionLost, DeadlineExceeded
from trunkline.reply import Reply
from trunkline.routing.plan import Planner
from trunkline.service import stack
from trunkline.types import Call, Called, Ended, Principal

BROKEN = (text("One two "), ConnectionLost("reset"))
REST = (text("three"), finish(), usage(2), end())


def grouped(**rules: Any) -> Config:
    """Return a configuration with the group `g` of `a/m` and `b/m`."""
    rows = tuple(provider.deployment("m") for provider in CONFIG.providers.values())
    rows = tuple(replace(row, dialect="openai_chat", quirks=frozenset({"prefix"})) for row in rows)
    groups = {"g": Group(name="g", deployments=rows, **rules)}
    return replace(CONFIG, groups=groups, fallback_chain=())


class Grouped(House):
    """A house whose calls go to the group."""

    async def call(self, *, timeout_s: float | None = 60, **fields: Any) -> None:
        """Make a streamed call of the group and read it to its end."""
        await super().call(timeout_s=timeout_s, **{"model": "g", "stream": True, **fields})


def onward() -> House:
    """Return a house where the first breaks off and the second goes on."""
    house = Grouped(BROKEN, BROKEN, REST, config=grouped(midstream="continue"))
    house.inner.answers.popleft()
    return house


def hedged(first_turns: int) -> House:
    """Return a house where the second is asked while the first begins.

    Once it was asked, the first takes so many turns more.
    """
    house = Grouped(STREAM, config=grouped(hedge=Hedge(after=0.3, max_share=1.0)))
    inner = house.inner

    async def slow(call: Call) -> Reply:
        first = call.target is not None and call.target.provider == "a"
        asyncio.get_running_loop().call_soon(house.clock.advance, 0.3 if first else 0)
        reply = await inner(call)
        try:
            while first and len(inner.calls) < 2:  # noqa: ASYNC110 - counted in turns
                await asyncio.sleep(0)
            for _ in range(first_turns if first else 5):
                await asyncio.sleep(0)
        except BaseException:
            reply.abandon()
            raise
        return reply

    planner = Planner(house.config, house.clock, house.health)
    house.service = stack(layers(planner, house.state), slow)
    return house


MAKERS: dict[str, Callable[[], House]] = {
    "goes on": onward,
    "the second is first": lambda: hedged(60),
    "the first is first": lambda: hedged(0),
    "both at once": lambda: hedged(7),
}
CASES = pytest.mark.parametrize("make_house", MAKERS.values(), ids=MAKERS)


@CASES
@pytest.mark.parametrize("times", [1, 2, 4])
async def test_cancelled_at_every_await(make_house: Callable[[], House], times: int) -> None:
    """One row with what all attempts cost, nothing held; the clean-up is cut as well."""
    houses: list[House] = []

    async def make() -> None:
        houses.append(make_house())
        await houses[-1].call()

    def check(k: int) -> None:
        house = houses[-1]
        house.assert_tidy(calls=1)
        (called,) = house.book.of(Called)
        assert called.outcome == ("complete" if house.answered else "cancelled")

    awaits = await cancel_at_every_await(make, check, times=times)
    assert awaits > 8
    house = houses[-1]
    house.assert_tidy(calls=1)
    (called,) = house.book.of(Called)
    assert called.outcome == "complete"
    assert called.attempts == 2
    await assert_usable(houses)


@CASES
async def test_out_of_time_at_every_await(make_house: Callable[[], House]) -> None:
    """The caller's time-out may fall anywhere."""
    houses: list[House] = []

    async def make() -> str:
        houses.append(make_house())
        try:
            await houses[-1].call(timeout_s=60)
        except DeadlineExceeded:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            return "late"
        return "in time"

    def check(k: int, task: asyncio.Task[Any]) -> None:
        houses[-1].assert_tidy(calls=1)
        (called,) = houses[-1].book.of(Called)
        assert called.outcome == ("failed" if task.result() == "late" else "complete")

    await at_every_await(make, lambda _: houses[-1].clock.advance(60), check)


async def test_left_at_every_await() -> None:
    """A reader who leaves from another task while an answer goes on."""
    houses: list[House] = []
    replies: list[Reply] = []

    async def make() -> None:
        houses.append(onward())
        replies.clear()
        call = ask(model="g", stream=True, body=BODY, principal=Principal(user_id="alice"))
        async with await houses[-1].service(call) as reply:
            replies.append(reply)
            try:
                await read(reply)
            except Exception:
                assert reply.outcome == "abandoned"

    def check(k: int, task: asyncio.Task[Any]) -> None:
        assert not task.cancelled()
        houses[-1].assert_tidy(calls=1)
        (called,) = houses[-1].book.of(Called)
        assert called.outcome in {"complete", "abandoned"}
        last = houses[-1].book.of(Ended)[-1]
        assert last.outcome in {called.outcome, "failed", "cancelled"}

    def leave(_: object) -> None:
        for reply in replies:
            reply.abandon()

    await at_every_await(make, leave, check)
