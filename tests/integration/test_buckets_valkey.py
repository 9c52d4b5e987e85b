"""One limit for all replicas: buckets in a real Valkey, which forgets, stops and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
import redis
from hypothesis import settings

from tests.buckets import LoopMachine, taken
from tests.servers import Valkey as Server
from trunkline.accounting.rates import Buckets, Draw, InProcessBuckets
from trunkline.storage import valkey as valkey_module
from trunkline.storage.buckets import FileBuckets
from trunkline.storage.valkey import Valkey
from trunkline.storage.valkey_buckets import SCRIPT, WITHOUT, ValkeyBuckets

_TIME = "local time = redis.call('TIME')"
_TOLD = "local time = {tonumber(redis.call('GET', 's')), tonumber(redis.call('GET', 'us'))}"
Open = Callable[..., ValkeyBuckets]


@pytest.fixture
def opened(valkey: Server, tmp_path: Path) -> Iterator[Open]:
    """Open the buckets of one machine; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(machine: str = "one", url: str = valkey.url) -> ValkeyBuckets:
            local = FileBuckets(tmp_path / machine)
            found = ValkeyBuckets(Valkey(url, SCRIPT, WITHOUT), "here", local)
            stack.callback(found.close)
            return found

        yield make


def draw(units: int = 1, per_minute: int = 10, bucket: str = "user:a requests") -> Draw:
    """Ask for some of a bucket of ten."""
    return Draw(bucket, per_minute, units)


async def until(done: Callable[[], object]) -> None:
    """Wait until something is so."""
    until_s = time.monotonic() + 20
    while not done():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


def test_valkey_counts_as_the_model_does(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that is told: takes, gives back, and has its clock put back."""
    monkeypatch.setattr(valkey_module, "_TIMEOUT_S", 30.0)

    class InValkey(LoopMachine):
        """Buckets in Valkey."""

        def open(self, now_ns: Callable[[], int]) -> Buckets:
            """Return new buckets in an empty server."""
            self.client = redis.Redis.from_url(valkey.url)
            self.client.flushall()
            self.now = now_ns
            self.tell()
            script = SCRIPT.replace(_TIME, _TOLD).replace(
                "used / 1000 + 1000", "used / 1000 + 1000000"
            )
            assert len(script) == len(SCRIPT) - len(_TIME) + len(_TOLD) + 3
            return ValkeyBuckets(Valkey(valkey.url, script), "machine", InProcessBuckets(now_ns))

        def tell(self) -> None:
            """Say what time it is."""
            s, ns = divmod(self.now(), 10**9)
            self.client.mset({"s": s, "us": ns // 1000})

        def run(self, work: object) -> object:  # type: ignore[override]
            """Tell the time first."""
            self.tell()
            return super().run(work)  # type: ignore[arg-type]

        def teardown(self) -> None:
            """Close the client as well."""
            super().teardown()
            if hasattr(self, "client"):
                self.client.close()

    case = InValkey.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
    case("runTest").runTest()


async def test_all_or_nothing_and_a_clock_of_its_own(opened: Open) -> None:
    """Two machines share; a refusal takes nothing, and says how long to wait."""
    one, two = opened("one"), opened("two")
    assert taken(await one.take([draw(6), draw(50, 100, "user:a tokens")]))
    levels = await two.take([draw(5), draw(50, 100, "user:a tokens")])
    assert levels[0].wait_ns == pytest.approx(6e9, rel=0.2)
    assert levels[1].wait_ns == 0
    assert taken(await two.take([draw(4), draw(50, 100, "user:a tokens")]))
    one.give_back([draw(2)])
    await one.take([draw(0)])  # what was said before is heard by then
    assert taken(await two.take([draw(2)]))


async def test_many_calls_are_one_round_trip(opened: Open, valkey: Server) -> None:
    """What comes while one question is under way goes with the next; the limit is exact."""
    buckets = opened()
    assert taken(await buckets.take([draw(0)]))
    with redis.Redis.from_url(valkey.url) as client:
        client.config_resetstat()
        answers = await asyncio.gather(*(buckets.take([draw(1, 150)]) for _ in range(200)))
        assert sum(map(taken, answers)) == 150
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] < 60


async def test_who_does_not_wait_for_the_answer_takes_nothing(opened: Open) -> None:
    """A call that is cancelled meanwhile gives back what was taken for it."""
    buckets = opened()
    await buckets.take([draw(0)])
    for _ in range(20):
        task = asyncio.create_task(buckets.take([draw(10)]))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    async with asyncio.timeout(20):
        while not taken(await buckets.take([draw(10)])):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_valkey_away_and_back(
    opened: Open, valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Each machine keeps the limit by itself, from the level it has seen; then all share again."""
    one, two = opened("one"), opened("two")
    assert taken(await one.take([draw(4)]))
    assert taken(await two.take([draw(3)]))
    valkey.stop()
    assert sum([taken(await one.take([draw()])) for _ in range(20)]) == 6
    assert sum([taken(await two.take([draw()])) for _ in range(20)]) == 7
    assert one.trouble == two.trouble == WITHOUT
    said = [each.message for each in caplog.records if "cannot be used" in each.message]
    assert len(said) == 2
    valkey.start()
    await until(lambda: not one.trouble and not two.trouble)
    valkey.flush()  # as if it had forgotten all
    assert taken(await one.take([draw(6)]))
    assert taken(await two.take([draw(4)]))
    assert not taken(await one.take([draw(1)]))


async def test_a_name_with_half_a_character_is_a_name(opened: Open) -> None:
    """It has a bucket of its own, which all share."""
    one, two = opened("one"), opened("two")
    half = draw(10, bucket="user:\ud800 requests")
    assert taken(await asyncio.wait_for(one.take([half]), 20))
    assert not taken(await two.take([half]))
    assert taken(await two.take([draw(10)]))


async def test_a_question_that_cannot_be_asked_stops_nobody(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, the machine's own buckets answer, and the next question is asked."""
    buckets = opened()

    def ask(*_: object) -> None:
        raise ValueError("unexpected")

    with monkeypatch.context() as broken:
        broken.setattr(Valkey, "ask", ask)
        assert taken(await asyncio.wait_for(buckets.take([draw(10)]), 20))
        assert not taken(await buckets.take([draw()]))
        assert buckets.trouble == WITHOUT
    assert "Valkey could not be asked" in caplog.text
    await until(lambda: not buckets.trouble)
    assert taken(await buckets.take([draw(10)]))


@pytest.mark.parametrize("broken", ["too short", "no thread", "no such draw"])
async def test_whatever_goes_wrong_the_next_question_is_asked(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """An answer too short, a thread that cannot begin, a question that cannot be written."""
    buckets = opened()
    with monkeypatch.context() as patch:
        if broken == "too short":
            patch.setattr(Valkey, "ask", lambda *_: [1])
        elif broken == "no thread":
            patch.setattr(ThreadPoolExecutor, "submit", Mock(side_effect=RuntimeError("no more")))
        else:
            patch.setattr(ValkeyBuckets, "_levels", Mock(side_effect=AttributeError("none")))
        assert taken(await asyncio.wait_for(buckets.take([draw()]), 20))
    assert caplog.records
    await until(lambda: not buckets.trouble)
    assert taken(await asyncio.wait_for(buckets.take([draw(10)]), 20))
    assert not taken(await asyncio.wait_for(opened("two").take([draw(10)]), 20))


async def test_a_silent_valkey_is_not_waited_for_twice(opened: Open, valkey: Server) -> None:
    """One call waits a quarter of a second; those after it do not wait at all."""
    buckets = opened()
    await buckets.take([draw(0)])
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command("CLIENT", "PAUSE", "1500", "ALL")
        asked = asyncio.create_task(buckets.take([draw()]))
        turns = 0
        while not asked.done():  # the loop is free meanwhile
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 5
        assert taken(await asked)
        began_s = time.monotonic()
        for _ in range(5):
            assert taken(await buckets.take([draw()]))
        assert time.monotonic() - began_s < 0.1
    await until(lambda: not buckets.trouble)


def test_a_forked_child_asks_by_itself(opened: Open) -> None:
    """It has no thread of its parent's; the limit is the same."""
    buckets = opened()
    assert taken(asyncio.run(buckets.take([draw(4)])))
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if taken(asyncio.run(buckets.take([draw(5)]))) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert taken(asyncio.run(buckets.take([draw(1)])))
    assert not taken(asyncio.run(buckets.take([draw(1)])))
