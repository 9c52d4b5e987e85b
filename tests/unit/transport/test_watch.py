"""The time-outs of an exchange, by a clock moved by hand."""

from tests.unit.transport.scripted import ScriptedExchange
from trunkline.errors import FirstTokenTimeout, IdleTimeout
from trunkline.testing import ManualClock
from trunkline.transport.watch import Watch
from trunkline.types import Limits

LIMITS = Limits(connect_timeout_s=10, first_token_timeout_s=5, idle_timeout_s=2)


def watch(limits: Limits = LIMITS) -> tuple[ManualClock, Watch, ScriptedExchange]:
    """Return a watch over a fresh exchange, and its clock."""
    clock, exchange = ManualClock(), ScriptedExchange()
    result = Watch(clock, limits)
    result.follow(exchange)
    return clock, result, exchange


def test_the_first_token_is_awaited_from_the_start_of_the_request() -> None:
    """Time spent on connecting counts."""
    clock, exchange = ManualClock(), ScriptedExchange()
    waiting = Watch(clock, LIMITS)
    clock.advance(3)
    waiting.follow(exchange)
    clock.advance(1.9)
    assert not exchange.failed
    clock.advance(0.2)
    assert isinstance(exchange.failed, FirstTokenTimeout)
    assert exchange.failed.sent
    assert str(exchange.failed) == "no first token within 5 s"


def test_connecting_may_not_take_longer_than_the_first_token() -> None:
    """The connect time-out is cut to what is left, and is never zero, which would mean none."""
    clock = ManualClock()
    waiting = Watch(clock, LIMITS)
    assert waiting.connect_timeout_s == 5
    clock.advance(6)
    assert 0 < waiting.connect_timeout_s < 0.01
    assert Watch(clock, Limits(connect_timeout_s=7)).connect_timeout_s == 7


def test_without_a_first_token_time_out_silence_before_the_answer_is_thinking() -> None:
    """The idle time-out does not count before the answer began."""
    clock, _, exchange = watch(Limits(idle_timeout_s=2))
    clock.advance(1000)
    assert not exchange.failed
    assert clock.pending == 0


def test_once_begun_only_silence_counts() -> None:
    """The first token's time-out is over, the idle one runs while a reader waits."""
    clock, waiting, exchange = watch()
    waiting.begin()
    waiting.waiting_s = clock.monotonic_s()
    clock.advance(1.99)
    assert not exchange.failed
    clock.advance(0.02)
    assert isinstance(exchange.failed, IdleTimeout)
    assert str(exchange.failed) == "silent for 2 s"


def test_each_chunk_starts_the_silence_anew() -> None:
    """A chunk every second keeps an answer with an idle time-out of two alive, on one timer."""
    clock, waiting, exchange = watch()
    waiting.begin()
    for _ in range(50):
        waiting.waiting_s = clock.monotonic_s()
        clock.advance(1)
        waiting.waiting_s = None
        assert clock.pending == 1
    waiting.waiting_s = clock.monotonic_s()
    clock.advance(1.99)
    assert not exchange.failed
    clock.advance(0.01)
    assert isinstance(exchange.failed, IdleTimeout)


def test_a_slow_reader_is_not_the_providers_silence() -> None:
    """Nobody waits, so nobody is silent."""
    clock, waiting, exchange = watch()
    waiting.begin()
    clock.advance(1000)
    assert not exchange.failed


def test_a_second_exchange_inherits_the_deadline() -> None:
    """After a stale connection the first token is still due from the start of the first try."""
    clock, waiting, first = watch()
    clock.advance(4)
    second = ScriptedExchange()
    waiting.follow(second)
    assert clock.pending == 1
    clock.advance(1)
    assert not first.failed
    assert isinstance(second.failed, FirstTokenTimeout)


def test_stop_leaves_no_timer() -> None:
    """Nothing keeps a finished exchange alive."""
    clock, waiting, _ = watch()
    waiting.stop()
    waiting.stop()
    assert clock.pending == 0
    waiting.begin()
    assert clock.pending == 1
    waiting.stop()
    assert clock.pending == 0
