"""The pulse: a silent stream says so, and nothing follows its end."""

import asyncio

from trunkline.gateway.http import Request
from trunkline.gateway.pulse import BEAT_S, Pulse
from trunkline.testing import ManualClock

PING = b": ping\n\n"


class Caller:
    """A connection, whose caller reads or does not."""

    peer = ""

    def __init__(self) -> None:
        self.heard = b""
        self.full: asyncio.Future[None] | None = None

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Keep it."""
        self.heard += data

    def read_on(self, *, wanted: bool) -> None:
        """Do nothing."""

    def done(self, request: Request) -> None:
        """Do nothing."""

    @property
    def pings(self) -> int:
        """How many pings came."""
        return self.heard.count(PING)


def beating() -> tuple[Caller, ManualClock, Request, Pulse]:
    """Begin an answer that has a pulse."""
    caller, clock = Caller(), ManualClock()
    request = Request(caller, "POST", ("/", b""), {}, keep_alive=True)
    request.begin(200, [])
    return caller, clock, request, Pulse(request, PING, clock)


async def test_no_silence_lasts_15_seconds() -> None:
    """However long nothing is written, a ping comes in time, and again."""
    caller, clock, _, pulse = beating()
    await clock.elapse(14.9)
    assert caller.pings == 1
    await clock.elapse(60)
    assert caller.pings >= 5
    pulse.stop()


async def test_a_stream_that_speaks_has_none() -> None:
    """Nor is there a task, or more than one timer, however often it speaks."""
    caller, clock, _, pulse = beating()
    for _ in range(100):
        pulse.silent = False
        clock.advance(BEAT_S)
        assert clock.pending == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not caller.pings
    pulse.stop()


async def test_nothing_follows_the_end() -> None:
    """Neither when the ping was about to be written, nor later; no timer is left."""
    caller, clock, request, pulse = beating()
    clock.advance(2 * BEAT_S)
    await request.write(b"last", more=False)
    await clock.elapse(0)
    pulse.stop()
    await clock.elapse(100)
    assert (caller.pings, clock.pending) == (0, 0)


async def test_a_caller_who_does_not_read_gets_one() -> None:
    """While a ping waits to be read, no other is added."""
    caller, clock, _, pulse = beating()
    caller.full = asyncio.get_running_loop().create_future()
    await clock.elapse(10 * BEAT_S)
    assert caller.pings == 1
    pulse.stop()
