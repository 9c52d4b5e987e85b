"""The Reply contract under interruption: close, abort and cancel, by others, at every await."""

import asyncio
from collections.abc import Callable

import pytest

from tests.fuzz import at_every_await, cancel_at_every_await
from tests.scripted import (
    DEPLOYMENT,
    SILENCE,
    Script,
    end,
    finish,
    reply_of,
    text,
    usage,
    whole,
)
from trunkline.errors import ConnectionLost, DeadlineExceeded, ReplyClosed, TrunklineError
from trunkline.reply import Reply
from trunkline.types import Frame

LATE = DeadlineExceeded("too late")


def me() -> asyncio.Task[object]:
    """Return the running task."""
    task = asyncio.current_task()
    assert task is not None
    return task


async def reading(reply: Reply, script: Script) -> asyncio.Task[Frame]:
    """Start a task that waits for a frame which does not come."""

    async def read() -> Frame:
        try:
            return await anext(reply)
        finally:
            script.log.append(f"cancelling {me().cancelling()}")

    task = asyncio.create_task(read())
    await script.waiting.wait()
    return task


def breaks(_: Reply) -> None:
    """Be a tail that raises."""
    raise OSError("disk full")


# --- aclose ----------------------------------------------------------------------------------


async def test_aclose_wakes_the_reader_with_an_error_that_is_not_a_cancellation() -> None:
    """The reader's task lives on, with no cancellation left on its account."""
    script = Script(SILENCE)
    reply = reply_of(script, "settle")
    reader = await reading(reply, script)
    await reply.aclose()
    assert script.log == ["wire closed", "settle"]
    with pytest.raises(ReplyClosed):
        await reader
    assert script.log[2:] == ["cancelling 0"]
    assert (reply.outcome, reply.error, script.said_goodbye) == ("abandoned", None, 1)


async def test_aclose_reports_a_broken_tail_and_still_waits_for_the_wire() -> None:
    """Who closes learns what could not be recorded, and so does who was reading."""
    script = Script(SILENCE)
    reply = reply_of(script)
    reply.on_close(breaks)
    reader = await reading(reply, script)
    with pytest.raises(OSError, match="disk full"):
        await reply.aclose()
    with pytest.raises(OSError, match="disk full"):
        await reader
    assert script.said_goodbye == 1


# --- cancel ----------------------------------------------------------------------------------


async def test_cancelling_the_reader_settles_as_cancelled() -> None:
    """The wire is closed, then the tails run, then the cancellation goes on."""
    script = Script(SILENCE)
    reply = reply_of(script, "settle")
    reader = await reading(reply, script)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert (reply.outcome, script.log[:2]) == ("cancelled", ["wire closed", "settle"])
    with pytest.raises(ReplyClosed):  # not another task's cancellation
        await anext(reply)


@pytest.mark.parametrize("abort_first", [True, False])
async def test_a_genuine_cancel_is_not_swallowed(abort_first: bool) -> None:
    """Cancelled and aborted at once, the task ends cancelled, whichever came first."""
    script = Script(SILENCE)
    reply = reply_of(script, "settle")
    reader = await reading(reply, script)
    acts: list[Callable[[], object]] = [lambda: reply.abort(LATE), reader.cancel]
    for act in acts if abort_first else reversed(acts):
        act()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert (reply.outcome, reply.error) == ("failed", LATE)
    assert script.log == ["wire closed", "settle", "cancelling 1"]


async def test_a_task_that_was_cancelled_before_may_still_read() -> None:
    """Cleaning up after a cancellation, a reader gets the abort's error, not a second one."""
    script = Script(SILENCE)
    reply = reply_of(script)

    async def clean_up() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await anext(reply)

    reader = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    reader.cancel()
    await script.waiting.wait()
    reply.abort(LATE)
    with pytest.raises(DeadlineExceeded):
        await reader
    assert reader.cancelling() == 1


# --- abort -----------------------------------------------------------------------------------


async def test_abort_while_a_reader_waits() -> None:
    """The reader gets the very error, and its task is not left cancelled."""
    script = Script(SILENCE)
    reply = reply_of(script, "settle")
    reader = await reading(reply, script)
    reply.abort(LATE)
    reply.abort(DeadlineExceeded("a second one, which changes nothing"))
    with pytest.raises(DeadlineExceeded) as caught:
        await reader
    assert caught.value is LATE
    assert script.log == ["wire closed", "settle", "cancelling 0"]


@pytest.mark.parametrize("frames_read", [0, 1])
async def test_abort_while_nobody_waits(frames_read: int) -> None:
    """Before the first read and between two, the next read gets the error; so does `message()`."""
    script = Script(text("b"), end())
    reply = reply_of(script, "settle", head=(text("a"),))
    for _ in range(frames_read):
        await anext(reply)
    reply.abort(LATE)
    assert script.log == ["wire closed", "settle"]
    for read in (lambda: anext(reply), reply.message):
        with pytest.raises(DeadlineExceeded):
            await read()
    assert (reply.outcome, reply.error) == ("failed", LATE)


@pytest.mark.parametrize("frames", [[whole("hi")], [text("hi"), end()]])
async def test_abort_after_the_end_changes_nothing(frames: list[Frame]) -> None:
    """A deadline that fires too late cannot spoil an answer that was given."""
    reply = reply_of(Script(*frames))
    message = await reply.message()
    reply.abort(LATE)
    assert (reply.outcome, reply.error) == ("complete", None)
    assert await reply.message() is message


async def test_abort_does_not_raise_for_a_broken_tail() -> None:
    """A timer that aborts has nobody to tell; the error carries the note."""
    error = DeadlineExceeded("too late")
    reply = reply_of(Script())
    reply.on_close(breaks)
    reply.abort(error)
    assert error.__notes__ == ["while closing: OSError('disk full')"]


async def test_abort_by_the_reader_itself() -> None:
    """A source that aborts the reply it feeds leaves no cancellation behind."""

    class Suicidal(Script):
        async def next(self) -> Frame | None:
            reply.abort(LATE)
            return await super().next()

    reply = reply_of(Suicidal(text("h")))
    with pytest.raises(DeadlineExceeded):
        await anext(reply)
    await asyncio.sleep(0)  # where a cancellation would strike
    assert me().cancelling() == 0


# --- time-outs, and sources with ideas of their own --------------------------------------------


async def test_a_timeout_around_the_reader_is_a_timeout() -> None:
    """`asyncio.timeout` sees its own cancellation come back."""
    reply = reply_of(Script(SILENCE))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await reply.message()
    assert (reply.outcome, me().cancelling()) == ("cancelled", 0)


async def test_an_abort_inside_a_timeout_is_not_a_timeout() -> None:
    """Only the abort's error comes out, and the task can be timed again."""
    reply = reply_of(Script(SILENCE))
    asyncio.get_running_loop().call_later(0.001, reply.abort, LATE)
    with pytest.raises(DeadlineExceeded):
        async with asyncio.timeout(60):
            await reply.message()
    assert me().cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)


async def test_a_timeout_and_an_abort_at_once() -> None:
    """Both strike before the reader wakes: the time-out is told, the abort is the outcome."""
    script = Script(SILENCE)
    reply = reply_of(script)

    async def read() -> None:
        async with asyncio.timeout(None) as limit:
            loop = asyncio.get_running_loop()
            limit.reschedule(loop.time() - 1)
            loop.call_soon(reply.abort, LATE)
            await anext(reply)

    with pytest.raises(TimeoutError):
        await read()
    assert (reply.error, me().cancelling()) == (LATE, 0)


class Swallows(Script):
    """A source that answers a cancellation with a frame, as `asyncio.wait_for` may in 3.11."""

    async def next(self) -> Frame | None:
        """Take the next step, or make one up."""
        try:
            return await super().next()
        except asyncio.CancelledError:
            return text("too late to show")


class Translates(Script):
    """A source that calls every cancellation a lost connection."""

    async def next(self) -> Frame | None:
        """Take the next step, or blame the wire."""
        try:
            return await super().next()
        except asyncio.CancelledError:
            raise ConnectionLost("gone") from None


class Timed(Script):
    """A source with a time-out."""

    async def next(self) -> Frame | None:
        """Take the next step in time."""
        async with asyncio.timeout(60):
            return await super().next()


class Waited(Script):
    """A source that reads in a task of its own."""

    async def next(self) -> Frame | None:
        """Take the next step in time."""
        return await asyncio.wait_for(super().next(), 60)


class Relayed(Script):
    """A reply as the source of another."""

    def __init__(self, *steps: Frame, turns: int) -> None:
        """Play the steps through a reply of our own."""
        super().__init__()
        self.inner = Reply(Script(*steps, turns=turns), DEPLOYMENT)
        self.inner.on_close(lambda _: self.log.append("inner settled"))

    async def next(self) -> Frame | None:
        """Relay."""
        return await anext(self.inner, None)

    def close(self) -> None:
        """Close the inner reply with ours."""
        self.inner.abort(ReplyClosed("the outer reply was closed"))
        super().close()


@pytest.mark.parametrize("kind", [Swallows, Translates])
async def test_no_frame_and_no_other_error_comes_after_an_abort(kind: type[Script]) -> None:
    """Whatever the source makes of the wake-up, the reader gets the abort's error."""
    script = kind(SILENCE)
    reply = reply_of(script, "settle")
    reader = await reading(reply, script)
    reply.abort(LATE)
    with pytest.raises(DeadlineExceeded):
        await reader
    assert script.log == ["wire closed", "settle", "cancelling 0"]
    assert reply.shown_frames == 0


async def test_only_one_task_may_read() -> None:
    """A second reader is told so, and the first reads on undisturbed."""
    script = Script(SILENCE)
    reply = reply_of(script)
    reader = await reading(reply, script)
    with pytest.raises(RuntimeError, match="only one may at a time"):
        await anext(reply)
    assert reply.outcome is None
    reply.abort(LATE)
    with pytest.raises(DeadlineExceeded):
        await reader


# --- at every await ----------------------------------------------------------------------------

WHOLE = [whole("hi")]
STREAM = [text("h"), text("i"), finish(), usage(2), end()]
SCRIPTS = pytest.mark.parametrize(
    ("kind", "frames"),
    [(kind, frames) for kind in (Script, Timed, Waited, Relayed) for frames in (WHOLE, STREAM)],
)


class Reader:
    """A caller who relays a reply frame by frame and is interrupted somewhere."""

    def __init__(self, kind: type[Script], frames: list[Frame]) -> None:
        self.kind = kind
        self.frames = frames
        self.script = Script()
        self.reply = reply_of(self.script)
        self.got: list[Frame] = []
        self.error: BaseException | None = None

    async def __call__(self) -> None:
        """Read afresh; an error of the tree is noted, anything else is raised."""
        await self.reply.aclose()
        self.script = self.kind(*self.frames, turns=2)
        self.reply = reply_of(self.script, "settle", "journal")
        self.got.clear()
        self.error = None
        try:
            async with self.reply:
                async for got in self.reply:
                    self.got.append(got)
                    await asyncio.sleep(0)
        except TrunklineError as error:
            self.error = error
        assert me().cancelling() == 0

    def check(self, *outcomes: str) -> None:
        """Demand that the reply was settled once, and ended in one of `outcomes`."""
        log = [entry for entry in self.script.log if entry != "inner settled"]
        assert log == ["wire closed", "settle", "journal"]
        assert self.script.log.count("inner settled") == (self.kind is Relayed)
        assert self.reply.outcome in outcomes
        complete = self.reply.outcome == "complete"
        assert complete == (bool(self.got) and self.got[-1].terminal)


@SCRIPTS
@pytest.mark.parametrize("times", [1, 3])
async def test_cancel_at_every_await(kind: type[Script], frames: list[Frame], times: int) -> None:
    """Wherever the reader is cancelled, and cancelled again, it ends cancelled and settled."""
    read = Reader(kind, frames)
    awaits = await cancel_at_every_await(
        read, lambda k: read.check("cancelled", "complete"), times=times
    )
    assert awaits >= 2 * len(frames)


@SCRIPTS
async def test_aclose_at_every_await(kind: type[Script], frames: list[Frame]) -> None:
    """Wherever another task closes the reply, the reader learns it and nothing is left behind."""
    read = Reader(kind, frames)

    def check(k: int, task: asyncio.Task[object]) -> None:
        task.result()
        read.check("abandoned", "complete")
        assert isinstance(read.error, ReplyClosed) == (read.reply.outcome == "abandoned")

    await at_every_await(read, lambda task: read.reply.aclose(), check)


@SCRIPTS
async def test_abort_at_every_await(kind: type[Script], frames: list[Frame]) -> None:
    """Wherever the reply is aborted, the reader gets the error unless it has the end."""
    read = Reader(kind, frames)

    def check(k: int, task: asyncio.Task[object]) -> None:
        task.result()
        read.check("failed", "complete")
        assert read.error is (LATE if read.reply.outcome == "failed" else None)

    await at_every_await(read, lambda task: read.reply.abort(LATE), check)


@SCRIPTS
@pytest.mark.parametrize("abort_first", [True, False])
async def test_cancel_and_abort_at_every_await(
    kind: type[Script], frames: list[Frame], abort_first: bool
) -> None:
    """The two at once: the task ends cancelled, and the reply is settled once."""
    read = Reader(kind, frames)

    def both(task: asyncio.Task[object]) -> None:
        if abort_first:
            read.reply.abort(LATE)
        task.cancel()
        read.reply.abort(LATE)

    def check(k: int, task: asyncio.Task[object]) -> None:
        assert task.cancelled()
        read.check("failed", "complete", "cancelled")

    await at_every_await(read, both, check)


async def test_message_cancelled_at_every_await() -> None:
    """A fold is as safe to cancel as a loop, also while the wire says goodbye."""
    replies: list[Reply] = []

    async def fold() -> None:
        replies.append(reply_of(Script(*STREAM, turns=3)))
        async with replies[-1] as reply:
            await reply.message()

    await cancel_at_every_await(fold, lambda k: None)
    assert {reply.outcome for reply in replies} == {"cancelled", "complete"}
