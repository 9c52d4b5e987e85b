"""The hold of a hard budget grows with a streamed answer; where it may not, the answer ends."""

import asyncio
from typing import Any

import pytest

from tests.fuzz import at_every_await, cancel_at_every_await
from tests.scripted import SILENCE, end, finish, frame, text
from tests.unit.layers.bench import Bench
from tests.unit.layers.double import PRICE, TARGET, Answer, ask, read, settle
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.price import cost
from trunkline.config import BudgetRule
from trunkline.reply import Reply
from trunkline.types import (
    Begun,
    Deployment,
    Ended,
    Finish,
    Frame,
    Mark,
    Price,
    Prompt,
    Usage,
    UsageReport,
    say,
)

LOOK_S = 0.5
FIRST_NUSD = 512 * PRICE.output_nusd // 10**6
"""What an answer of unknown length is held for, the prompt apart."""


def words(tokens: int) -> tuple[Frame, ...]:
    """Say so many tokens in two frames."""
    return text("h"), text("h" + "x" * 4 * (tokens - 2))


def used(tokens: int) -> int:
    """Return what a stream of so many tokens has cost."""
    prompt_tokens = Bench().estimates.prompt_tokens(ask())
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=tokens)
    return cost(usage, PRICE).nusd or 0


class Stream:
    """A call under way whose answer falls silent after its script."""

    def __init__(self, *answer: Any, nusd: int = 10**12, **fields: Any) -> None:
        script: Answer = (*answer, SILENCE)
        self.bench = Bench(script, nusd=nusd)
        self.clock, self.book = self.bench.clock, self.bench.book
        self.call = self.bench.call(**{"stream": True, **fields})
        self.got: list[Frame] = []
        self.reply: Reply

    async def __aenter__(self) -> "Stream":
        self.reply = await self.bench.service(self.call)
        self._reader = asyncio.create_task(self._read())
        await settle()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.reply.aclose()
        await asyncio.wait({self._reader})
        assert self._reader.cancelled() or self._reader.exception() or self.reply.outcome
        await settle()
        assert (self.clock.pending, self.bench.account.held_nusd) == (0, 0)
        (ended,) = self.book.of(Ended)
        assert self.bench.account.settled_nusd == ended.cost_nusd

    async def _read(self) -> None:
        async for got in self.reply:
            self.got.append(got)

    async def look(self, times: int = 1) -> list[int | None]:
        """Let it be looked at; return the holds that were journaled so far."""
        for _ in range(times):
            await self.clock.elapse(LOOK_S)
            if asking := asyncio.all_tasks() - {asyncio.current_task(), self._reader}:
                await asyncio.wait(asking)
                await settle()
        return [begun.hold_nusd for begun in self.book.of(Begun)]


def capped(tokens: int) -> Prompt:
    """Make a request with a cap."""
    return Prompt(messages=(say("user", "hi"),), max_output_tokens=tokens)


# --- it grows -----------------------------------------------------------------------------------


async def test_a_hold_grows_before_it_is_used_up() -> None:
    """To twice its size; the journal learns of it at once, and nothing is an overrun."""
    async with Stream(*words(450)) as stream:
        first, second = await stream.look()
        assert first is not None
        assert second == 2 * first
        assert stream.bench.account.held_nusd == second
        assert stream.book.flushed == len(stream.book.records)
        assert stream.bench.trail.attempts[0].hold_nusd == second
        assert await stream.look(3) == [first, second]
    before, after = stream.book.of(Begun)
    assert (before.call_id, before.n, before.started_ns) == (
        after.call_id,
        after.n,
        after.started_ns,
    )
    assert stream.bench.account.overrun_nusd == 0


async def test_a_hold_grows_past_a_burst() -> None:
    """What was used in between counts, however much it was."""
    async with Stream(*words(4000)) as stream:
        _, second = await stream.look()
        assert second == 2 * used(4000)
    assert stream.bench.account.overrun_nusd == 0


async def test_a_hold_that_is_enough_stays() -> None:
    """While most of it is left nothing is asked for."""
    async with Stream(*words(300)) as stream:
        assert len(await stream.look(5)) == 1


async def test_usage_that_is_told_early_counts() -> None:
    """Anthropic says at once what was read: here more than was thought."""
    told = UsageReport(usage=Usage(prompt_tokens=5000, completion_tokens=1))
    async with Stream(frame("usage", Mark.USAGE, told), *words(10)) as stream:
        assert len(await stream.look()) == 2


async def test_no_hold_is_larger_than_the_answer_can_be() -> None:
    """The request's own cap bounds it; then nothing more is held, and nothing is cut."""
    async with Stream(*words(4000), body=capped(5000)) as stream:
        first, second = await stream.look()
        assert first is not None
        assert second is not None
        assert first < second <= first + used(5000 - 4096)
        assert await stream.look(3) == [first, second]
    async with Stream(*words(100), body=capped(100), nusd=used(100)) as stream:
        assert len(await stream.look(3)) == 1
        assert stream.reply.outcome is None


async def test_a_provider_that_does_not_keep_the_cap_is_cut() -> None:
    """What it says it has written counts for more than what it was asked to write at most."""
    told = frame("usage", Mark.USAGE, UsageReport(usage=Usage(completion_tokens=5000)))
    async with Stream(*words(100), told, body=capped(100), nusd=used(1000)) as stream:
        await stream.look(9)
        assert stream.reply.outcome == "complete"
        assert stream.bench.trail.route == ["p/m: budget_cut"]


async def test_a_part_will_do_where_there_is_no_more() -> None:
    """The last cents of a budget can be spent by an answer under way."""
    async with Stream(*words(450), nusd=FIRST_NUSD * 5 // 4) as stream:
        first, second = await stream.look()
        assert first is not None
        assert second == first + first // 8
        assert stream.reply.outcome is None


# --- it may not ---------------------------------------------------------------------------------


async def test_a_refused_top_up_ends_the_answer() -> None:
    """As one that reached its length: all that came, then a last frame; settled at that."""
    async with Stream(*words(450), nusd=FIRST_NUSD * 51 // 50) as stream:
        assert len(await stream.look()) == 1
        *said, last = stream.got
        assert len(said) == 2
        assert (last.raw, last.terminal) == (b"", True)
        assert stream.bench.inner.open_wires == 0
        (ended,) = stream.book.of(Ended)
        assert (ended.outcome, ended.finish, ended.cost_state) == (
            "complete",
            "length",
            "estimated",
        )
        assert ended.cost_nusd == used(450)
        assert ended.usage.completion_tokens == 450
        assert stream.reply.finish_raw == "budget"
        assert stream.reply.usage == ended.usage
        assert stream.bench.trail.route == ["p/m: budget_cut"]


async def test_every_open_choice_is_ended() -> None:
    """One that has its finish reason keeps it."""
    body = Prompt(messages=(say("user", "hi"),), choices=3)
    ended = frame("f", Mark.FINISH, Finish(choice=1, reason="stop"))
    async with Stream(*words(1500), ended, body=body, nusd=FIRST_NUSD * 31 // 10) as stream:
        await stream.look()
        assert [event.choice for event in stream.got[-1].events[:-1]] == [0, 2]


async def test_an_answer_is_not_cut_while_it_can_be_paid() -> None:
    """A slow one goes on until the next look might find it overdrawn."""
    nusd = FIRST_NUSD * 51 // 50
    async with Stream(*words(360), nusd=nusd) as stream:
        script = stream.bench.inner.scripts[0]
        await stream.look()
        stream.reply.shown_bytes += 4 * 60
        assert len(await stream.look()) == 1
        assert stream.reply.outcome is None  # 420 of 512 tokens; at this pace it will be 480
        stream.reply.shown_bytes += 4 * 50
        await stream.look()
        assert script.log == ["wire closed"]


async def test_an_answer_with_its_reason_is_not_cut() -> None:
    """Only usage and the end mark are to come."""
    async with Stream(*words(450), finish(), nusd=FIRST_NUSD * 51 // 50) as stream:
        await stream.look(2)
        assert stream.reply.outcome is None
        assert stream.clock.pending == 0


async def test_a_broken_tail_is_told_to_the_reader() -> None:
    """Not to the timer, which has nobody to tell."""

    def breaks(_: Reply) -> None:
        raise OSError("disk full")

    async with Stream(*words(450), nusd=FIRST_NUSD * 51 // 50) as stream:
        stream.reply.on_close(breaks)
        await stream.look()
        assert isinstance(stream._reader.exception(), OSError)


async def test_a_journal_that_is_full_does_not_cut() -> None:
    """The end meets it as well, and tells."""
    async with Stream(*words(450)) as stream:
        stream.book.torn = (Begun,)
        await stream.look()
        assert stream.bench.account.held_nusd > FIRST_NUSD * 3 // 2
        assert stream.reply.outcome is None


# --- who is not looked at ------------------------------------------------------------------------

FREE = Deployment(provider="p", model="m", price=Price(input_nusd=0, output_nusd=0))


@pytest.mark.parametrize(
    ("rules", "target", "stream"),
    [
        ([], TARGET, True),
        ([BudgetRule(scope="global", amount_nusd=1, period="total", mode="soft")], TARGET, True),
        ([BudgetRule(scope="global", amount_nusd=9**9, period="total")], FREE, True),
        ([BudgetRule(scope="global", amount_nusd=9**9, period="total")], TARGET, False),
    ],
    ids=["no budget", "soft", "free", "whole"],
)
async def test_nobody_looks(rules: list[BudgetRule], target: Deployment, *, stream: bool) -> None:
    """There is not even a timer where no hard budget pays for a stream."""
    bench = Bench((text("h"), end()))
    bench.ledger = Ledger(rules, bench.clock)
    reply = await bench.service(bench.call(target, stream=stream))
    assert bench.clock.pending == 0
    await read(reply)


async def test_a_reply_that_is_dropped_is_forgotten() -> None:
    """The timer does not keep it."""
    bench = Bench((text("h"), SILENCE))
    reply = await bench.service(bench.call(stream=True))
    await anext(reply)
    with pytest.warns(ResourceWarning, match="dropped"):
        del reply
    assert (bench.clock.pending, bench.account.held_nusd) == (0, 0)


# --- at every await ------------------------------------------------------------------------------


class Near(Ledger):
    """Asks its accounts in some turns of the loop, not in a thread."""

    async def _slowly(self, work: Any, *args: Any) -> Any:
        for _ in range(2):
            await asyncio.sleep(0)
        return work(*args)


@pytest.mark.parametrize("nusd", [10**12, FIRST_NUSD * 51 // 50], ids=["grows", "is cut"])
@pytest.mark.parametrize("act", ["cancel", "close", "look"])
async def test_at_every_await(nusd: int, act: str) -> None:
    """Whoever interferes, and when: one end, nothing held, no timer."""
    benches: list[Bench] = []
    replies: list[Reply] = []
    cuts: set[str] = set()

    async def make() -> None:
        bench = Bench((*words(450), *[text("x")] * 8, finish(), end()), nusd=nusd)
        bench.ledger = Near([bench.account.rule], bench.clock)
        bench.account = bench.ledger.accounts()[0]
        bench.inner.turns = 3
        benches.append(bench)
        replies.clear()
        async with await bench.service(bench.call(stream=True)) as reply:
            replies.append(reply)
            async for _ in reply:
                bench.clock.advance(LOOK_S)

    async def interfere(task: asyncio.Task[None]) -> None:
        benches[-1].clock.advance(LOOK_S)
        if act == "close" and replies:
            await replies[0].aclose()

    def check(k: int, *_: object) -> None:
        bench = benches[-1]
        assert (bench.clock.pending, bench.account.held_nusd, bench.inner.open_wires) == (0, 0, 0)
        assert len(bench.book.of(Ended)) == bool(bench.book.of(Begun))
        spent = sum(row.cost_nusd or 0 for row in bench.book.of(Ended))
        assert bench.account.settled_nusd == spent
        kinds = [type(record) for record in bench.book.records]
        assert Ended not in kinds[:-1]
        cuts.update(bench.trail.route)

    if act == "cancel":
        await cancel_at_every_await(make, check)
    else:
        await at_every_await(make, interfere, check)
    assert bool(cuts) == (nusd < 10**12)
