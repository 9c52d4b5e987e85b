"""The Reply contract as its reader sees it; what others do to it: `test_reply_interrupt.py`."""

import asyncio
import gc
import sys
import warnings
from contextlib import suppress
from typing import Any

import pytest

from tests.scripted import (
    SILENCE,
    Script,
    Step,
    end,
    finish,
    frame,
    reply_of,
    text,
    usage,
    whole,
)
from trunkline.errors import BadAnswer, ConnectionLost, DeadlineExceeded, ReplyClosed, Truncated
from trunkline.reply import Reply
from trunkline.types import (
    Event,
    Finish,
    Frame,
    Mark,
    Memo,
    Outcome,
    Started,
    Text,
    TextDelta,
    Usage,
)

WHOLE = [whole("hi")]
STREAM = [text("h"), text("i"), finish(), usage(2), end()]
BOTH = pytest.mark.parametrize("steps", [WHOLE, STREAM], ids=["whole", "stream"])
LATE = DeadlineExceeded("too late")


async def read_all(reply: Reply) -> list[bytes]:
    """Read to the end."""
    return [got.raw async for got in reply]


def breaks(reply: Reply, error: BaseException) -> None:
    """Add a tail that raises."""

    def tail(_: Reply) -> None:
        raise error

    reply.on_close(tail)


# --- tails -----------------------------------------------------------------------------------


@BOTH
async def test_tails_run_before_the_terminal_frame_is_handed_out(steps: list[Frame]) -> None:
    """Whoever holds the last frame knows that the wire is closed and every tail has run."""
    script = Script(*steps)
    reply = reply_of(script, "settle", "journal")
    seen = []
    async for got in reply:
        seen.append((got.terminal, list(script.log), reply.outcome))
    assert seen[:-1] == [(False, [], None)] * (len(steps) - 1)
    assert seen[-1] == (True, ["wire closed", "settle", "journal"], "complete")


@BOTH
async def test_tails_run_once(steps: list[Frame]) -> None:
    """Neither reading on, nor closing, nor aborting, nor dropping runs them again."""
    script = Script(*steps)
    reply = reply_of(script, "settle")
    await read_all(reply)
    assert await read_all(reply) == []
    await reply.aclose()
    reply.abort(LATE)
    assert (reply.outcome, reply.error) == ("complete", None)
    del reply
    gc.collect()
    assert script.log == ["wire closed", "settle"]


@BOTH
async def test_a_tail_that_raises_keeps_the_end_from_the_reader(steps: list[Frame]) -> None:
    """The other tails still run, and what could not be recorded is not acknowledged."""
    script, broken = Script(*steps), OSError("disk full")
    reply = reply_of(script, "first")
    breaks(reply, broken)
    reply.on_close(lambda _: script.log.append("last"))
    assert [await anext(reply) for _ in steps[:-1]] == steps[:-1]
    with pytest.raises(OSError, match="disk full") as caught:
        await anext(reply)
    assert caught.value is broken
    assert script.log == ["wire closed", "first", "last"]
    assert (reply.outcome, reply.error) == ("failed", broken)
    with pytest.raises(OSError, match="disk full"):
        await anext(reply)


async def test_the_first_of_several_broken_tails_is_raised_with_the_others_noted() -> None:
    """Nothing that went wrong at the end is lost."""
    reply = reply_of(Script(*WHOLE))
    breaks(reply, OSError("one"))
    breaks(reply, OSError("two"))
    with pytest.raises(OSError, match="one") as caught:
        await reply.message()
    assert caught.value.__notes__ == ["also: OSError('two')"]


async def test_the_error_that_ended_the_answer_wins_over_a_broken_tail() -> None:
    """The reader learns why the answer broke off; the tail's failure is a note on it."""
    lost = ConnectionLost("gone")
    reply = reply_of(Script(lost))
    breaks(reply, OSError("disk full"))
    with pytest.raises(ConnectionLost) as caught:
        await anext(reply)
    assert caught.value is lost
    assert lost.__notes__ == ["while closing: OSError('disk full')"]


@pytest.mark.parametrize("steps", [WHOLE, [ConnectionLost("gone")]], ids=["complete", "failed"])
async def test_not_even_an_interrupt_in_a_tail_skips_the_next(steps: list[Step]) -> None:
    """Ctrl-C in the middle of settling settles, and is raised."""
    script = Script(*steps)
    reply = reply_of(script)
    breaks(reply, KeyboardInterrupt())
    reply.on_close(lambda _: script.log.append("last"))
    with pytest.raises(KeyboardInterrupt):
        await anext(reply)
    assert script.log == ["wire closed", "last"]


async def test_tails_run_although_the_wire_cannot_be_closed() -> None:
    """A failing close is one more thing that went wrong, not the end of settling."""

    class Stuck(Script):
        def close(self) -> None:
            raise OSError("stuck")

    script = Stuck(SILENCE)
    reply = reply_of(script, "settle")
    with pytest.raises(OSError, match="stuck"):
        await reply.aclose()
    assert script.log == ["settle"]
    assert script.said_goodbye == 1


async def test_on_close_after_the_end_runs_at_once() -> None:
    """A layer that comes late still gets its turn, once."""
    script = Script(*WHOLE)
    reply = reply_of(script, "early")
    await reply.message()
    reply.on_close(lambda reply: script.log.append(f"late, {reply.outcome}"))
    assert script.log == ["wire closed", "early", "late, complete"]


# --- how answers end -------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[], [text("h")], [text("h"), finish(), usage(2)]])
async def test_an_end_without_terminal_frame_is_an_error(steps: list[Frame]) -> None:
    """Not even a finish reason makes a broken-off stream a success."""
    script = Script(*steps)
    reply = reply_of(script, "settle")
    with pytest.raises(Truncated):
        await reply.message()
    assert isinstance(reply.error, Truncated)
    assert (reply.outcome, script.log) == ("failed", ["wire closed", "settle"])
    with pytest.raises(Truncated):
        await reply.message()


@pytest.mark.parametrize("error", [ConnectionLost("gone"), ValueError("a bug")], ids=repr)
async def test_errors_of_the_source_are_raised_unchanged(error: Exception) -> None:
    """The reader gets the very error, after the tails have seen it."""
    script = Script(text("h"), error)
    reply = reply_of(script)
    reply.on_close(lambda reply: script.log.append(f"{reply.outcome} {reply.error!r}"))
    with pytest.raises(type(error)) as caught:
        await reply.message()
    assert caught.value is reply.error is error
    assert script.log == ["wire closed", f"failed {error!r}"]


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        (STREAM, "complete"),
        ([text("h"), BadAnswer("html")], "failed"),
        ([text("h"), asyncio.CancelledError()], "cancelled"),
        ([text("h"), GeneratorExit()], "cancelled"),
        ([text("h"), KeyboardInterrupt()], "cancelled"),
        ([text("h")] * 3, "abandoned"),
    ],
    ids=["end", "error", "cancel", "coroutine closed", "ctrl-c", "left"],
)
async def test_outcomes(steps: list[Step], outcome: Outcome) -> None:
    """Each end has one of four names, and only an error is the deployment's failure."""
    reply = reply_of(Script(*steps))
    for step in steps[:2]:
        with suppress(*[type(step)] if isinstance(step, BaseException) else []):
            await anext(reply)
    if outcome == "complete":
        await read_all(reply)
    await reply.aclose()
    assert reply.outcome == outcome


async def test_a_coroutine_thrown_away_settles_its_reply() -> None:
    """A reader that is closed instead of cancelled settles too, and blames nobody."""
    script = Script(SILENCE, turns=1)
    reply = reply_of(script, "settle")
    reader = reply.message()
    reader.send(None)
    reader.close()
    assert (reply.outcome, script.log) == ("cancelled", ["wire closed", "settle"])


async def test_usage_and_finish_are_separate_and_both_survive() -> None:
    """Neither overwrites the other, whichever comes first; a later usage replaces an earlier."""
    for steps in (
        [usage(1), finish("length"), usage(7)],
        [usage(1), usage(7), finish("length")],
        [finish("length"), usage(7)],
    ):
        reply = reply_of(Script(*steps, end()))
        await read_all(reply)
        assert reply.usage == Usage(prompt_tokens=1, completion_tokens=7)
        assert (reply.finish, reply.finish_raw) == ("length", "length")


async def test_what_was_told_before_a_break_is_kept() -> None:
    """A truncated answer still has the usage that was reported."""
    reply = reply_of(Script(usage(3), text("h")))
    with pytest.raises(Truncated):
        await read_all(reply)
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.finish) == (3, None)


async def test_the_reply_speaks_for_choice_0_and_notes_who_answered() -> None:
    """Other choices do not set the finish reason; the upstream's id and model are kept."""
    last = Mark.FINISH | Mark.TERMINAL
    reply = reply_of(
        Script(
            frame("", Mark.FINISH, Started(id="a", model="m-1"), Finish(reason="stop")),
            frame("", last, Started(), Finish(reason="length", choice=1)),
        )
    )
    await read_all(reply)
    assert (reply.finish, reply.upstream_id, reply.upstream_model) == ("stop", "a", "m-1")


async def test_shown_frames_are_weighed() -> None:
    """What a caller could see is counted as it passes, for estimates of broken-off answers."""
    reply = reply_of(Script(text("four"), text("a"), text("three"), usage(1)))
    with pytest.raises(Truncated):
        await read_all(reply)
    assert (reply.shown_frames, reply.shown_bytes, reply.least_frame_bytes) == (3, 10, 1)


# --- head ------------------------------------------------------------------------------------


async def test_head_frames_come_first() -> None:
    """Frames read before the reply existed are replayed in their order."""
    reply = reply_of(Script(text("c"), end()), head=(text("a"), text("b")))
    assert await read_all(reply) == [b"a", b"b", b"c", b"end"]


async def test_a_whole_answer_may_be_in_the_head() -> None:
    """The source is not asked again, and the contract is the same."""
    script = Script(AssertionError())
    reply = reply_of(script, "settle", head=(whole("hi"),))
    assert (await reply.message()).text == "hi"
    assert (reply.outcome, script.log) == ("complete", ["wire closed", "settle"])
    assert reply.usage is not None


async def test_head_frames_are_gone_after_a_close() -> None:
    """Closing forgets what was kept; reading on is an error, not a short answer."""
    reply = reply_of(Script(), head=(text("a"), end()))
    await reply.aclose()
    with pytest.raises(ReplyClosed):
        await anext(reply)


# --- message() -------------------------------------------------------------------------------


@BOTH
async def test_message_folds_and_is_cached(steps: list[Frame]) -> None:
    """A whole message is the fold of the frames, made once."""
    reply = reply_of(Script(*steps))
    message = await reply.message()
    assert "".join(part.text for part in message.parts if isinstance(part, Text)) == "hi"
    assert await reply.message() is message


async def test_message_of_each_choice() -> None:
    """All choices are folded in the one pass, whichever is asked for first."""
    events = [TextDelta(text=word, choice=n) for n, word in ((1, "b"), (0, "a"), (1, "B"))]
    reply = reply_of(Script(frame("", Mark.SHOWN, *events), end()))
    second, first = await reply.message(1), await reply.message()
    assert (first.text, second.text) == ("a", "bB")
    assert await reply.message(1) is second
    assert (await reply.message(2)).parts == ()


async def test_message_refuses_to_fold_half_an_answer() -> None:
    """Frames that went to another reader are missing, so the message would be a lie."""
    for read in (1, len(STREAM)):
        async with reply_of(Script(*STREAM)) as reply:
            for _ in range(read):
                await anext(reply)
            with pytest.raises(RuntimeError, match="some were read before"):
                await reply.message()


@pytest.mark.parametrize("mark", [Mark.SHOWN, Mark.FINISH])
async def test_a_frame_that_cannot_be_decoded_ends_the_reply(mark: int) -> None:
    """Garbage is the deployment's failure, whether we or the fold had to decode it."""

    def decode(raw: bytes, memo: Memo) -> tuple[Event, ...]:
        raise BadAnswer("garbage")

    script = Script(Frame(b"?", int(mark), decode, Memo()), end())
    reply = reply_of(script, "settle")
    with pytest.raises(BadAnswer):
        await reply.message()
    assert (reply.outcome, script.log) == ("failed", ["wire closed", "settle"])
    with pytest.raises(BadAnswer):
        await anext(reply)


# --- closing ---------------------------------------------------------------------------------


async def leave(reply: Reply, error: BaseException | None) -> None:
    """Read one frame and leave the block, by `error` if there is one."""
    async with reply:
        async for _ in reply:
            break
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "abandoned"),
        (ValueError("mine"), "abandoned"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_the_context_manager_closes(error: BaseException | None, outcome: Outcome) -> None:
    """Leaving the block settles; an error is kept, and a cancellation named as such."""
    script = Script(*STREAM)
    reply = reply_of(script, "settle")
    if error is None:
        await leave(reply, None)
    else:
        with pytest.raises(type(error)) as caught:
            await leave(reply, error)
        assert caught.value is error
    assert (reply.outcome, script.log) == (outcome, ["wire closed", "settle"])
    assert script.said_goodbye == 1


async def test_break_then_aclose() -> None:
    """A loop that is left keeps the reply open until it is closed; then reading is an error."""
    script = Script(*STREAM)
    reply = reply_of(script, "settle")
    async for _ in reply:
        break
    assert (reply.outcome, script.log) == (None, [])
    await reply.aclose()
    await reply.aclose()
    assert (reply.outcome, script.log) == ("abandoned", ["wire closed", "settle"])
    for read in (lambda: anext(reply), reply.message):
        with pytest.raises(ReplyClosed):
            await read()


def drop(reply: list[Reply]) -> None:
    """Drop the only reference."""
    reply.clear()
    gc.collect()


@pytest.mark.parametrize("tails", [[], ["settle"]])
async def test_a_dropped_reply_warns_and_settles(tails: list[str]) -> None:
    """Nobody closed it, so it closes itself and says so."""
    script = Script(*STREAM)
    replies = [reply_of(script, *tails)]
    await anext(replies[0])
    with pytest.warns(ResourceWarning, match="script/m was dropped without being closed"):
        drop(replies)
    assert script.log == ["wire closed", *tails]


async def test_a_dropped_reply_settles_even_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The warning comes last, so raising it costs nothing."""
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: raised.append(hook.exc_type))
    script = Script(*STREAM)
    replies = [reply_of(script, "settle")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(replies)
    assert (raised, script.log) == ([ResourceWarning], ["wire closed", "settle"])
