"""The Reply contract when its end is set from outside: `finish_early`."""

import asyncio

import pytest

from tests.fuzz import at_every_await
from tests.scripted import SILENCE, Script, end, finish, frame, reply_of, text, usage
from trunkline.errors import DeadlineExceeded
from trunkline.reply import Reply
from trunkline.types import Finish, Frame, Mark, Usage, UsageReport

LAST = frame(
    "",
    Mark.FINISH | Mark.USAGE | Mark.TERMINAL,
    Finish(reason="length", raw="budget"),
    UsageReport(usage=Usage(completion_tokens=9)),
)


async def rest(reply: Reply) -> list[Frame]:
    """Read what is left."""
    return [got async for got in reply]


@pytest.mark.parametrize("frames_read", [0, 1, 2])
async def test_between_two_reads(frames_read: int) -> None:
    """Wire and tails come first, then whoever reads gets the last frame, once, and no other."""
    script = Script(text("b"), text("c"), end())
    reply = reply_of(script, "settle", head=(text("a"),))
    for _ in range(frames_read):
        await anext(reply)
    reply.finish_early(LAST)
    assert script.log == ["wire closed", "settle"]
    assert (reply.outcome, reply.error) == ("complete", None)
    assert (reply.finish, reply.finish_raw, reply.finished) == ("length", "budget", (0,))
    assert reply.usage == Usage(completion_tokens=9)
    assert await rest(reply) == [LAST]
    assert await rest(reply) == []


async def test_while_a_reader_waits() -> None:
    """The reader gets the frame, and its task is not left cancelled."""
    script = Script(text("a"), SILENCE)
    reply = reply_of(script, "settle")
    reader = asyncio.create_task(rest(reply))
    await script.waiting.wait()
    reply.finish_early(LAST)
    assert (await reader)[1:] == [LAST]
    assert (script.log, reader.cancelling()) == (["wire closed", "settle"], 0)


async def test_message_is_what_came_so_far() -> None:
    """A fold under way ends with what it has."""
    script = Script(text("Hel"), text("lo"), SILENCE)
    reply = reply_of(script)
    reader = asyncio.create_task(reply.message())
    await script.waiting.wait()
    reply.finish_early(LAST)
    assert (await reader).text == "Hello"
    assert reply.finish == "length"


async def test_a_reader_who_is_cancelled_at_the_same_time() -> None:
    """Is cancelled; the frame waits for another read."""
    script = Script(SILENCE)
    reply = reply_of(script, "settle")
    reader = asyncio.create_task(rest(reply))
    await script.waiting.wait()
    reader.cancel()
    reply.finish_early(LAST)
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await rest(reply) == [LAST]
    assert script.log == ["wire closed", "settle"]


async def test_after_an_end_it_changes_nothing() -> None:
    """An answer that was given, or failed, stays what it was."""
    reply = reply_of(Script(text("a"), finish(), usage(2), end()))
    await rest(reply)
    reply.finish_early(LAST)
    assert (reply.finish, reply.usage) == ("stop", Usage(prompt_tokens=1, completion_tokens=2))
    assert await rest(reply) == []
    reply = reply_of(Script(SILENCE))
    reply.abort(DeadlineExceeded("late"))
    reply.finish_early(LAST)
    with pytest.raises(DeadlineExceeded):
        await anext(reply)


async def test_a_close_after_it_is_none() -> None:
    """Who leaves without reading the last frame leaves an answer that is complete."""
    script = Script(SILENCE)
    async with reply_of(script, "settle") as reply:
        reply.finish_early(LAST)
    assert reply.outcome == "complete"
    assert script.log == ["wire closed", "settle"]


async def test_a_broken_tail_is_what_the_end_was() -> None:
    """Both learn of it: who ended the answer, and who reads it."""

    def breaks(_: Reply) -> None:
        raise OSError("disk full")

    reply = reply_of(Script(text("a")))
    reply.on_close(breaks)
    with pytest.raises(OSError, match="disk full"):
        reply.finish_early(LAST)
    with pytest.raises(OSError, match="disk full"):
        await anext(reply)
    assert reply.outcome == "failed"


async def test_at_every_await() -> None:
    """Wherever it strikes, the reader gets frames up to a terminal one and the tails run once."""
    scripts: list[Script] = []
    replies: list[Reply] = []

    async def read() -> list[Frame]:
        scripts.append(Script(text("h"), text("i"), finish(), end(), turns=2))
        replies.append(reply_of(scripts[-1], "settle"))
        async with replies[-1] as reply:
            return await rest(reply)

    def check(k: int, task: asyncio.Task[list[Frame]]) -> None:
        frames = task.result()
        assert [got.terminal for got in frames] == [False] * (len(frames) - 1) + [True]
        assert scripts[-1].log == ["wire closed", "settle"]
        assert (replies[-1].outcome, task.cancelling()) == ("complete", 0)

    assert await at_every_await(read, lambda _: replies[-1].finish_early(LAST), check) > 6
