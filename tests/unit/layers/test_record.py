"""Every call leaves one row and two events, before its end is seen."""

import asyncio

import pytest

from tests.unit.layers.double import ENDS, WHOLE, Inner, Pages, ask, live
from trunkline.errors import BudgetExhausted, ConnectionLost, RecordError, Truncated
from trunkline.layers.record import record
from trunkline.observability.log import EventLog
from trunkline.reply import Reply
from trunkline.testing import ManualClock
from trunkline.types import Attempt, Call, Called, Cost, Principal, Trail, Usage


class Heard(EventLog):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.asks: list[Call] = []
        self.ends: list[tuple[Called, BaseException | None]] = []

    def asked(self, call: Call) -> None:
        """Note the question."""
        self.asks.append(call)

    def answered(
        self, call: Call, called: Called, error: BaseException | None, reply: Reply | None
    ) -> None:
        """Note the end."""
        self.ends.append((called, error))


def traced(**fields: object) -> Call:
    """Make a call as `trace` hands it on."""
    return ask(**{"id": "call_1", "trail": Trail(started_ns=5, started_s=0.0), **fields})


@pytest.mark.parametrize("how", ENDS)
async def test_every_call_is_written_once(how: str) -> None:
    """One flushed row with its outcome, whatever became of the call, and two events."""
    answer, outcome = ENDS[how]
    book, events, clock = Pages(), Heard(), ManualClock()
    error = await live(record(book, events, clock)(Inner(answer)), traced(), how)
    (called,) = book.of(Called)
    assert called.outcome == outcome
    assert book.flushed == 1
    assert len(events.asks) == 1
    ((told, reason),) = events.ends
    assert told is called
    assert type(reason) is type(error)
    assert (called.error_code is None) == (error is None)


async def test_a_refusal_before_any_attempt_is_written() -> None:
    """A call that was never tried costs exactly nothing and names its error."""
    book, refusal = Pages(), BudgetExhausted("the money is gone")
    with pytest.raises(BudgetExhausted):
        await record(book, Heard(), ManualClock())(Inner(refusal))(traced())
    (called,) = book.of(Called)
    assert (called.outcome, called.error_code) == ("failed", "budget_exhausted")
    assert (called.attempts, called.deployment) == (0, None)
    assert (called.cost_nusd, called.cost_state) == (0, "exact")


async def test_the_row_is_there_before_the_terminal_frame() -> None:
    """Whoever holds the last frame holds a recorded call."""
    book = Pages()
    reply = await record(book, Heard(), ManualClock())(Inner(ENDS["streamed"][0]))(traced())
    flushed = [(frame.terminal, book.flushed) async for frame in reply]
    assert flushed == [(False, 0)] * 4 + [(True, 1)]


async def test_a_success_that_cannot_be_written_is_none() -> None:
    """The last frame is not handed out, the caller gets the error; the log is told all the same."""
    events = Heard()
    reply = await record(Pages(Called), events, ManualClock())(Inner(WHOLE))(traced())
    with pytest.raises(RecordError):
        await anext(reply)
    assert len(events.ends) == 1


@pytest.mark.parametrize("how", ["failed", "failed in mid-stream", "cancelled", "truncated"])
async def test_an_unwritable_book_does_not_hide_why_a_call_failed(how: str) -> None:
    """The caller gets the first cause with a note; a cancellation stays one."""
    events = Heard()
    inner = Inner(ENDS[how][0])
    error = await live(record(Pages(Called), events, ManualClock())(inner), traced(), how)
    wanted = asyncio.CancelledError if how == "cancelled" else ConnectionLost | Truncated
    assert isinstance(error, wanted)
    assert len(events.ends) == 1


async def test_the_row_sums_over_attempts() -> None:
    """Tokens and money of all attempts; deployment and finish of the last."""
    trail = Trail(
        started_ns=5,
        route=["a/m: connection_lost", "b/m: answered"],
        attempts=[
            Attempt(
                n=1,
                deployment="a/m",
                started_ns=6,
                usage=Usage(prompt_tokens=10),
                cost=Cost(30, "estimated"),
            ),
            Attempt(
                n=2,
                deployment="b/m",
                started_ns=7,
                usage=Usage(prompt_tokens=10, completion_tokens=5),
                cost=Cost(105, "exact"),
                finish="stop",
                first_token_ms=12.5,
            ),
        ],
    )
    clock, book = ManualClock(), Pages()
    principal = Principal(key_id="k", user_id="u", team_id="t", tenant_id="acme")
    call = traced(trail=trail, principal=principal, tags=("x",), run="r", stream=True)
    reply = await record(book, Heard(), clock)(Inner(WHOLE))(call)
    clock.advance(1.5)
    await reply.message()
    assert book.of(Called) == [
        Called(
            call_id="call_1",
            kind="chat",
            started_ns=5,
            model="m",
            outcome="complete",
            stream=True,
            message_count=1,
            attempts=2,
            deployment="b/m",
            finish="stop",
            cost_nusd=135,
            cost_state="estimated",
            prompt_tokens=20,
            completion_tokens=5,
            latency_ms=1500.0,
            first_token_ms=12.5,
            key_id="k",
            user_id="u",
            team_id="t",
            tenant_id="acme",
            tags=("x",),
            run="r",
            route=("a/m: connection_lost", "b/m: answered"),
        )
    ]


async def test_unknown_money_stays_unknown() -> None:
    """One attempt of unknown cost makes the whole call's cost unknown, never a smaller sum."""
    attempts = [
        Attempt(n=1, deployment="a/m", started_ns=6, cost=Cost(30)),
        Attempt(n=2, deployment="b/m", started_ns=7, cost=Cost(None, "unknown")),
    ]
    book = Pages()
    call = traced(trail=Trail(attempts=attempts), track_tokens=False)
    await (await record(book, Heard(), ManualClock())(Inner(WHOLE))(call)).message()
    (called,) = book.of(Called)
    assert (called.cost_nusd, called.cost_state) == (None, "unknown")
    assert not called.tracked


async def test_credentials_in_an_error_are_not_written() -> None:
    """The text of an error is scrubbed and short."""
    book = Pages()
    lost = ConnectionLost("sent sk-abcdefghijklmnop " + "x" * 1000)
    with pytest.raises(ConnectionLost):
        await record(book, Heard(), ManualClock())(Inner(lost))(traced())
    error = book.of(Called)[0].error
    assert error is not None
    assert "sk-abc" not in error
    assert len(error) <= 500
