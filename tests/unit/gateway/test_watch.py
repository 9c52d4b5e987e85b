"""The watcher: what is done for a caller who left is ended, and nothing else."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.scripted import SILENCE, Script, reply_of, text
from tests.unit.gateway.asgi import Talk, piece
from trunkline.errors import ReplyClosed
from trunkline.gateway import relay
from trunkline.gateway.relay import Watch

Work = Callable[[Watch], Coroutine[Any, Any, Any]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request is a lasting one."""
    monkeypatch.setattr(relay, "_LASTING_S", 0.0)


async def watched(talk: Talk, work: Work) -> str:
    """Do `work` as `relay` does; say how it ended."""
    watch = Watch(talk.receive)
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
    finally:
        watch.stop()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    return f"{ended}, {'gone' if watch.gone else 'there'}"


async def forever(_: Watch) -> None:
    """Wait for an answer that never begins."""
    await asyncio.get_running_loop().create_future()


async def others_are_gone() -> bool:
    """Whether, after some turns of the loop, nothing of the watcher is left."""
    for _ in range(5):
        await asyncio.sleep(0)
    return asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_before_an_answer_began() -> None:
    """The wait is cancelled, and the cancellation is taken back."""
    talk = Talk(piece(b"more", more=True), piece(b""))
    talk.leave()
    assert await watched(talk, forever) == "taken back, gone"
    assert await others_are_gone()


async def test_leaving_in_an_answer() -> None:
    """The reply is closed, its tails run, the wire is closed, nobody is cancelled."""
    script = Script(text("Hi"), SILENCE)
    reply = reply_of(script, "journal")
    talk = Talk()

    async def work(watch: Watch) -> None:
        watch.reply = reply
        async with reply:
            async for _ in reply:
                talk.leave()

    assert await watched(talk, work) == "closed, gone"
    assert script.log == ["wire closed", "journal"]
    assert reply.outcome == "abandoned"
    assert await others_are_gone()


async def test_a_caller_who_stays() -> None:
    """The watcher ends with the request."""

    async def work(_: Watch) -> None:
        await asyncio.sleep(0.01)

    assert await watched(Talk(), work) == "done, there"
    assert await others_are_gone()


async def test_a_short_request_has_no_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a timer, which is taken back."""
    monkeypatch.setattr(relay, "_LASTING_S", 60.0)
    talk = Talk()
    talk.leave()

    async def work(_: Watch) -> None:
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert await watched(talk, work) == "done, there"


@pytest.mark.parametrize("leaves", [False, True], ids=["caller stays", "caller leaves too"])
async def test_a_cancel_of_the_server_goes_through(leaves: bool) -> None:
    """Also when the watcher cancels at the same moment."""
    talk = Talk()
    task = asyncio.create_task(watched(talk, forever))
    await asyncio.sleep(0.01)
    if leaves:
        talk.leave()
        await asyncio.sleep(0)  # the watcher's turn comes next, before the task's
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await others_are_gone()
