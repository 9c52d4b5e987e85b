"""Every attempt is held before it is sent, and journaled and settled once at its end."""

import asyncio

import pytest

from tests.unit.layers.bench import Bench
from tests.unit.layers.double import (
    ENDS,
    TARGET,
    WHOLE,
    live,
    read,
    settle,
)
from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.errors import (
    BudgetExhausted,
    ConnectionLost,
    InputError,
    RecordError,
    Truncated,
    TrunklineError,
)
from trunkline.reply import Reply
from trunkline.types import (
    Begun,
    Call,
    Deployment,
    Ended,
    Principal,
)

# --- what is held and written before anything is sent -----------------------------------------


async def test_begun_is_written_before_the_send() -> None:
    """When the service below is called, the record is flushed and the money held."""
    bench = Bench()
    seen = []

    async def inner(call: Call) -> Reply:
        seen.append((list(bench.book.records), bench.book.flushed, bench.account.held_nusd))
        raise InputError("no")

    bench.inner = inner  # type: ignore[assignment]
    who = Principal(key_id="k", user_id="u", team_id="t", tenant_id="acme")
    with pytest.raises(InputError):
        await bench.service(bench.call(principal=who, tags=("x",), run="r", track_tokens=False))
    ((records, flushed, held_nusd),) = seen
    assert flushed == 1
    assert held_nusd > 0
    assert records == [
        Begun(
            call_id="call_1",
            n=1,
            started_ns=bench.clock.now_ns(),
            deployment="p/m",
            model="m",
            hold_nusd=held_nusd,
            price_snapshot="table 1",
            key_id="k",
            user_id="u",
            team_id="t",
            tenant_id="acme",
            tags=("x",),
            run="r",
            tracked=False,
        )
    ]


async def test_what_cannot_be_written_is_not_sent() -> None:
    """A book that refuses `Begun` stops the attempt, which then never was: no hold, no row."""
    bench = Bench(WHOLE, torn=(Begun,))
    with pytest.raises(RecordError):
        await bench.service(bench.call())
    assert bench.inner.calls == []
    assert bench.trail.attempts == []
    assert (bench.account.held_nusd, bench.account.settled_nusd) == (0, 0)


async def test_what_cannot_be_paid_is_not_sent() -> None:
    """A refusal of the ledger leaves nothing behind."""
    bench = Bench(WHOLE, nusd=1)
    with pytest.raises(BudgetExhausted):
        await bench.service(bench.call())
    assert (bench.inner.calls, bench.book.records, bench.trail.attempts) == ([], [], [])


async def test_a_request_that_cannot_be_weighed_is_not_sent() -> None:
    """When the estimate itself refuses the request, nothing is held."""
    bench = Bench(WHOLE)

    def refuse(call: Call) -> int:
        raise InputError("messages[0]: no such part")

    bench.estimates.prompt_tokens = refuse  # type: ignore[method-assign]
    for target in (TARGET, Deployment(provider="p", model="m")):
        with pytest.raises(InputError):
            await bench.service(bench.call(target))
    assert (bench.inner.calls, bench.book.records, bench.account.held_nusd) == ([], [], 0)


# --- in each way of ending ----------------------------------------------------------------------


class Watched(Ledger):
    """Counts what is settled."""

    settled_holds = 0

    def settle(self, *arguments: object) -> None:
        """Count, then settle."""
        self.settled_holds += 1
        super().settle(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ENDS)
async def test_a_hold_is_settled_exactly_once(how: str) -> None:
    """However an attempt ends, and also when its tab is closed after it."""
    bench = Bench(ENDS[how][0])
    rule = BudgetRule(scope="global", amount_nusd=10**12, period="total")
    bench.ledger = ledger = Watched([rule], bench.clock)
    bench.account = ledger.accounts()[0]
    call = bench.call()
    await live(bench.service, call, how)
    assert call.tab is not None
    call.tab.close()
    assert ledger.settled_holds == 1
    bench.one()


@pytest.mark.parametrize("how", ENDS)
async def test_the_end_is_written_before_it_is_seen(how: str) -> None:
    """When the caller learns the outcome, the record and the ledger know it."""
    bench = Bench(ENDS[how][0])
    noted: list[int] = []

    async def above() -> None:
        try:
            async with await bench.service(bench.call()) as reply:
                reply.on_close(lambda _: noted.append(len(bench.book.of(Ended))))
                await read(reply)
        except BaseException:
            noted.append(len(bench.book.of(Ended)))
            raise

    task = asyncio.create_task(above())
    await settle()
    task.cancel()
    await asyncio.wait({task})
    assert set(noted) == {1}


async def test_times_and_names_are_noted() -> None:
    """Latency to the first frame and to the last, the provider's id, the reason of the end."""
    bench = Bench(WHOLE)
    play = bench.inner

    async def slow(call: Call) -> Reply:
        bench.clock.advance(0.2)
        reply = await play(call)
        reply.upstream_id = "chatcmpl-1"
        return reply

    bench.inner = slow  # type: ignore[assignment]
    reply = await bench.service(bench.call())
    bench.clock.advance(0.3)
    await reply.message()
    ended = bench.one()
    assert ended.first_token_ms == pytest.approx(200)
    assert ended.latency_ms == pytest.approx(500)
    assert (ended.upstream_id, ended.finish) == ("chatcmpl-1", "stop")
    assert bench.trail.attempts[0].price_snapshot == "table 1"
    assert bench.trail.attempts[0].hold_nusd == bench.book.of(Begun)[0].hold_nusd


async def test_errors_are_written_without_credentials() -> None:
    """Code and scrubbed text."""
    bench = Bench(ConnectionLost("while sending sk-abcdefghijklmnop"))
    await live(bench.service, bench.call(), "")
    ended = bench.one()
    assert ended.error_code == "connection_lost"
    assert ended.error is not None
    assert "abcdefgh" not in ended.error


async def test_attempts_of_one_call_are_numbered() -> None:
    """Failed ones stay on the trail and in the sums."""
    bench = Bench(ConnectionLost("reset"), Truncated("cut"), WHOLE)
    call = bench.call()
    for _ in range(2):
        with pytest.raises(TrunklineError):
            await bench.service(call)
    await (await bench.service(call)).message()
    assert [ended.n for ended in bench.book.of(Ended)] == [1, 2, 3]
    assert bench.account.settled_nusd == bench.trail.cost.nusd
    assert bench.trail.cost.state == "estimated"
