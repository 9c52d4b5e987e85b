"""Interrupt a coroutine at every await it makes, one at a time.

`at_every_await` runs a fresh coroutine again and again; in run `k` it acts at its k-th suspension,
until a run ends before it gets there. A suspension is counted where the coroutine hands control to
the loop, so the count is exact whatever lies below: a socket, a lock, a layer, a backend.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

Act = Callable[[asyncio.Task[Any]], Awaitable[object] | object]
Make = Callable[[], Coroutine[Any, Any, Any]]

_SETTLE_TURNS = 10
_SETTLE_S = 5.0


async def at_every_await(
    make: Make, act: Act, check: Callable[[int, asyncio.Task[Any]], None], *, times: int = 1
) -> int:
    """Run `make()` with `act(task)` at each of its awaits in turn; return how many there are.

    `check(k, task)` looks at what each run has left: the task is done, and whatever was started had
    some turns of the loop to end. A run fails on its own when tasks stay pending, when `act` raises
    or when the loop has to report an exception that nobody took.

    Args:
        make: a fresh, independent coroutine for each run.
        act: a function, plain or async, that another task calls while the coroutine is suspended;
            `asyncio.Task.cancel` cancels.
        check: asserts; `k` counts from 1.
        times: act at so many awaits in a row from the k-th on, so that clean-up is hit as well.
    """
    k = 1
    while True:
        run = _Run(make(), act, range(k, k + times))
        await run.finish()
        if not run.acts:
            run.task.result()  # the undisturbed run must succeed
            return k - 1
        check(k, run.task)
        k += 1


async def cancel_at_every_await(make: Make, check: Callable[[int], None], *, times: int = 1) -> int:
    """Cancel `make()` at each of its awaits in turn, and demand that it ends cancelled each time.

    See `at_every_await`.
    """

    def cancelled(k: int, task: asyncio.Task[Any]) -> None:
        assert task.cancelled(), f"cancelled at await {k}, yet it ended as {task!r}"
        check(k)

    return await at_every_await(make, asyncio.Task.cancel, cancelled, times=times)


class _Run:
    """One run, disturbed at the awaits `at`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], act: Act, at: range) -> None:
        self.act = act
        self.at = at
        self.acts: list[asyncio.Task[None]] = []
        self.reports: list[dict[str, Any]] = []
        self.others = asyncio.all_tasks()
        self.coroutine = coroutine
        self.task = asyncio.get_running_loop().create_task(self._drive())

    async def finish(self) -> None:
        """Wait for the task and for what it left behind; complain of what stays."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: self.reports.append(context))
        try:
            await asyncio.wait({self.task}, timeout=_SETTLE_S)
            for _ in range(_SETTLE_TURNS):
                await asyncio.sleep(0)
            if left := asyncio.all_tasks() - self.others:
                await asyncio.wait(left, timeout=_SETTLE_S)
            gc.collect(1)
        finally:
            loop.set_exception_handler(before)
        left = asyncio.all_tasks() - self.others
        for task in left:
            task.cancel()
        assert not left, f"still pending: {left}"
        assert not self.reports, f"reported by the loop: {self.reports}"
        for task in self.acts:
            task.result()

    async def _drive(self) -> Any:
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        step = 0
        while True:
            try:
                wait = self.coroutine.throw(error) if error else self.coroutine.send(None)
            except StopIteration as stop:
                return stop.value
            step += 1
            if step in self.at:  # queued now, so it comes before whatever will wake us
                self.acts.append(asyncio.get_running_loop().create_task(self._call()))
            try:
                error = yield wait
            except BaseException as thrown:
                error = thrown

    async def _call(self) -> None:
        answer = self.act(self.task)
        if isinstance(answer, Awaitable):
            await answer
