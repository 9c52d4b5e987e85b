"""The harness that interrupts at every await."""

import asyncio
from contextlib import suppress

import pytest

from tests.fuzz import Make, at_every_await, cancel_at_every_await


async def test_cancels_at_each_await_in_turn() -> None:
    """Run k is cancelled at the k-th suspension, wherever in the depths that is."""
    reached: list[int] = []
    depth = 0

    async def inner() -> None:
        nonlocal depth
        await asyncio.sleep(0)
        depth += 1
        await asyncio.gather(asyncio.sleep(0))
        depth += 1

    async def work() -> None:
        nonlocal depth
        depth = 0
        await inner()
        await asyncio.sleep(0)
        depth += 1

    awaits = await cancel_at_every_await(work, lambda k: reached.append(depth))
    assert (awaits, reached) == (3, [0, 1, 2])
    assert depth == 3  # the last run is not disturbed


async def test_a_coroutine_without_awaits_is_run_once() -> None:
    """Nothing to interrupt is no endless loop."""

    async def work() -> None:
        pass

    assert await cancel_at_every_await(work, lambda k: None) == 0


async def test_acts_before_the_coroutine_wakes() -> None:
    """An act that needs no turn of the loop beats even `sleep(0)`."""
    acted = False
    seen: list[bool] = []

    async def work() -> None:
        nonlocal acted
        acted = False
        await asyncio.sleep(0)
        seen.append(acted)

    async def act(task: asyncio.Task[object]) -> None:
        nonlocal acted
        acted = True

    await at_every_await(work, act, lambda k, task: None)
    assert seen == [True, False]


async def test_cancels_clean_up_too() -> None:
    """With `times=2` the first await of the clean-up is cancelled as well."""
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            cleaned.append("begun")
            await asyncio.sleep(0)
            cleaned.append("ended")

    await cancel_at_every_await(work, lambda k: cleaned.append(f"run {k}"), times=2)
    assert cleaned == ["begun", "run 1", "begun", "run 2", "begun", "ended"]


async def swallow() -> None:
    """Ignore a cancellation."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def litter() -> None:
    """Leave a failed task behind that nobody asks."""

    async def fail() -> None:
        raise ValueError

    child = asyncio.create_task(fail())
    try:
        await asyncio.sleep(0)
    finally:
        del child


@pytest.mark.parametrize(
    ("work", "complaint"),
    [(swallow, "cancelled at await 1, yet it ended"), (litter, "reported by the loop")],
)
async def test_complains(work: Make, complaint: str) -> None:
    """A swallowed cancellation and an exception nobody takes are found."""
    with pytest.raises(AssertionError, match=complaint):
        await cancel_at_every_await(work, lambda k: None)


async def test_complains_of_tasks_left_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that outlives the coroutine is found, and ended."""
    monkeypatch.setattr("tests.fuzz._SETTLE_S", 0.01)
    children = []

    async def work() -> None:
        children.append(asyncio.create_task(asyncio.sleep(60)))
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="still pending"):
        await cancel_at_every_await(work, lambda k: None)
    await asyncio.sleep(0)
    assert [child.cancelled() for child in children] == [True]
