"""The watch: what is done for a caller who left is ended, and nothing else."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.scripted import SILENCE, Script, reply_of, text
from trunkline.errors import ReplyClosed
from trunkline.gateway.relay import Watch

Work = Callable[[Watch], Coroutine[Any, Any, Any]]


async def watched(watch_: list[Watch], work: Work) -> str:
    """Do `work` as `relay` does; say how it ended."""
    task = asyncio.current_task()
    assert task is not None
    watch = Watch(task)
    watch_.append(watch)
    try:
        await work(watch)
    except asyncio.CancelledError:
        if not watch.took_back():
            raise
        ended = "taken back"
    except ReplyClosed:
        ended = "closed"
    else:
        ended = "done"
    assert task.cancelling() == 0
    return f"{ended}, {'gone' if watch.gone else 'there'}"


async def forever(_: Watch) -> None:
    """Wait for an answer that never begins."""
    await asyncio.get_running_loop().create_future()


async def test_leaving_before_an_answer_began() -> None:
    """The wait is cancelled, and the cancellation is taken back."""

    async def work(watch: Watch) -> None:
        asyncio.get_running_loop().call_soon(watch.leave)
        await forever(watch)

    assert await watched([], work) == "taken back, gone"


async def test_leaving_in_an_answer() -> None:
    """The reply is closed, its tails run, the wire is closed, nobody is cancelled."""
    script = Script(text("Hi"), SILENCE)
    reply = reply_of(script, "journal")

    async def work(watch: Watch) -> None:
        watch.reply = reply
        async with reply:
            async for _ in reply:
                asyncio.get_running_loop().call_soon(watch.leave)

    assert await watched([], work) == "closed, gone"
    assert script.log == ["wire closed", "journal"]
    assert reply.outcome == "abandoned"


@pytest.mark.parametrize("leaves", [False, True], ids=["caller stays", "caller leaves too"])
async def test_a_cancel_of_the_server_goes_through(leaves: bool) -> None:
    """Also when the caller leaves at the same moment."""
    watches: list[Watch] = []
    task = asyncio.create_task(watched(watches, forever))
    await asyncio.sleep(0)
    if leaves:
        watches[0].leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
