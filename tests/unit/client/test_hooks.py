"""Hooks are told beside the calls, again until they take it, and never in the way of a call."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.journal_records import begun, called, ended
from tests.serving import eventually
from trunkline import Trunkline
from trunkline.client import hooks as module
from trunkline.client.hooks import MOST_TRIES, Hooks
from trunkline.client.targets import HttpTarget, Target, Verdict
from trunkline.config import Config, Webhook, from_mapping
from trunkline.errors import InputError
from trunkline.llm_service.ask import chat
from trunkline.storage.outbox import Outbox
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.testing import FakeUpstream, ManualClock, Status, hang
from trunkline.types import Secret
from trunkline.types.usage_event import UsageEvent

FILE = "owner.000000.log"
NO = Verdict(trouble="no")


class Double:
    """A hook that answers as it is told to, else takes everything."""

    def __init__(self, *verdicts: Verdict, name: str = "double") -> None:
        self.name = name
        self.verdicts = [*verdicts]
        self.heard: list[str] = []

    async def tell(self, events: Sequence[UsageEvent]) -> list[Verdict]:
        """Take note of the ids."""
        self.heard += [event.id for event in events]
        return [self.verdicts.pop(0) if self.verdicts else Verdict() for _ in events]


class Stage:
    """Hooks over a store, on a clock moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = Store(SqliteDatabase(folder / "trunkline.db"))
        self.hooks = Hooks(Outbox(self.store.database, folder), self.clock)

    def take(self, *targets: Target) -> None:
        """Tell these."""
        self.hooks.take(targets)
        self.hooks.subscribe()

    def end(self, *call_ids: str) -> None:
        """Have calls end."""
        for name in call_ids:
            self.store.apply(FILE, 1, [begun(name), ended(name), called(name)])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage."""
    made = Stage(tmp_path)
    yield made
    made.hooks.stop()
    made.store.close()


@pytest.mark.acceptance("T15")
def test_told_once(stage: Stage) -> None:
    """Each event, however many wait."""
    double = Double()
    stage.take(double)
    names = [f"c{number:02}" for number in range(40)]
    stage.end(*names)
    for _ in range(2):
        stage.hooks.tell("double")
    assert double.heard == [f"{name}:1" for name in names]
    assert stage.hooks.counts == {}


@pytest.mark.acceptance("T15")
def test_told_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """After 1 s, then 4 s, a fifth of it left to chance; it is logged; others do not wait."""
    double = Double(NO, Verdict(), NO)
    stage.take(double)
    stage.end("c1", "c2")
    with caplog.at_level(logging.WARNING, "trunkline.hooks"):
        stage.hooks.tell("double")
    assert double.heard == ["c1:1", "c2:1"]
    assert caplog.messages == ["usage hook double: 1 events not taken, 0 of them given up: no"]
    assert stage.hooks.counts == {"waiting": 1}
    for early_s, rest_s in ((0.79, 0.21), (3.19, 0.81)):
        before = len(double.heard)
        stage.clock.advance(early_s)
        stage.hooks.tell("double")
        assert len(double.heard) == before
        stage.clock.advance(rest_s)
        stage.hooks.tell("double")
        assert len(double.heard) == before + 1
    assert double.heard[2:] == ["c1:1", "c1:1"]
    assert stage.hooks.counts == {}


def test_one_that_takes_nothing_is_logged_once_a_minute(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Under load it fails many times a second; what it never took is said each time."""
    stage.take(Double(NO, NO, NO, NO))
    for name, pause_s in (("c1", 0.1), ("c2", 0.1), ("c3", 60.0), ("c4", 0.0)):
        stage.end(name)
        with caplog.at_level(logging.WARNING, "trunkline.hooks"):
            stage.hooks.tell("double")
        stage.clock.advance(pause_s)
    assert len(caplog.messages) == 2


@pytest.mark.acceptance("T15")
def test_a_webhook_that_fails_twice(stage: Stage) -> None:
    """It is posted the same event a third time, under the same key, and then never again."""
    with FakeUpstream.in_thread() as up:
        up.script(Status(500), Status(500), Status(200))
        webhook = Webhook(url=up.url, secret=Secret("s" * 16), allow_private=True)
        stage.take(HttpTarget(webhook, stage.clock))
        stage.end("c1")
        for delay_s in (0, 1, 4, 3600):
            stage.clock.advance(delay_s)
            stage.hooks.tell(up.url)
    assert [request.headers["idempotency-key"] for request in up.requests] == ["c1:1"] * 3
    assert len({request.body for request in up.requests}) == 1
    assert stage.hooks.counts == {}


@pytest.mark.acceptance("T15")
def test_given_up(stage: Stage) -> None:
    """After about a day, never more than an hour apart; the row is kept."""
    double = Double(*[NO] * 100)
    stage.take(double)
    stage.end("c1")
    began_s, at_s = stage.clock.monotonic_s(), []
    while stage.hooks.counts != {"dead": 1}:
        told = len(double.heard)
        stage.hooks.tell("double")
        if len(double.heard) > told:
            at_s.append(stage.clock.monotonic_s() - began_s)
        stage.clock.advance(1 if at_s[-1] < 60 else 60)
    gaps = [after - before for before, after in pairwise(at_s)]
    assert len(at_s) == MOST_TRIES
    assert max(gaps) <= 3660
    assert 18 * 3600 < at_s[-1] < 25 * 3600
    stage.clock.advance(86_400)
    stage.hooks.tell("double")
    assert len(double.heard) == MOST_TRIES


def test_what_a_hook_asks_for(stage: Stage) -> None:
    """To wait, a day at most; or never to be told again."""
    stage.take(Double(Verdict(trouble="later", after_s=100), Verdict(trouble="gone", final=True)))
    stage.end("c1", "c2")
    stage.hooks.tell("double")
    assert stage.hooks.counts == {"waiting": 1, "dead": 1}
    stage.clock.advance(99)
    stage.hooks.tell("double")
    assert stage.hooks.counts == {"waiting": 1, "dead": 1}
    stage.clock.advance(1)
    stage.hooks.tell("double")
    assert stage.hooks.counts == {"dead": 1}


def test_after_a_restart(stage: Stage, tmp_path: Path) -> None:
    """What waits is told by the next process, with how often it failed."""
    stage.take(Double(NO, NO))
    stage.end("c1")
    stage.hooks.tell("double")
    stage.hooks.stop()
    again, double = Stage(tmp_path), Double(NO)
    again.clock.advance(1)
    again.take(double)
    again.hooks.tell("double")
    again.clock.advance(3.1)
    again.hooks.tell("double")
    assert double.heard == ["c1:1"]
    again.store.close()


def test_replaced_hooks(stage: Stage) -> None:
    """One that is taken away hears no more; the new one what ends from now on."""
    old, new = Double(name="old"), Double(name="new")
    stage.take(old)
    stage.take(new)
    stage.end("c1")
    stage.hooks.tell("new")
    assert (old.heard, new.heard) == ([], ["c1:1"])


async def test_threads(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hook has its own: one that hangs keeps no other waiting, and a second try comes."""
    monkeypatch.setattr(module, "_PACE_S", 0.01)
    release = threading.Event()

    class Hanging(Double):
        async def tell(self, events: Sequence[UsageEvent]) -> list[Verdict]:
            release.wait(20)
            return await super().tell(events)

    hanging, other = Hanging(name="hanging"), Double(NO, name="other")
    stage.take(hanging, other)
    stage.end("c1")
    stage.hooks.wake()
    await eventually(lambda: other.heard)

    def later() -> bool:
        stage.clock.advance(1)  # until the answer is on record, there is nothing to wait for
        return len(other.heard) > 1

    await eventually(later)
    assert hanging.heard == []
    release.set()
    await eventually(lambda: hanging.heard)


# --- in a line --------------------------------------------------------------------------------


def config(*webhooks: dict[str, object]) -> Config:
    """Return a configuration of the demo."""
    return from_mapping({"llm_service": {"providers": {"demo": {}}, "webhooks": [*webhooks]}})


async def ask(line: Trunkline, **fields: object) -> None:
    """Make a call."""
    call = chat([{"role": "user", "content": "hi"}], "demo/demo", **fields)  # type: ignore[arg-type]
    async with await line(call) as reply:
        await reply.message()


@pytest.mark.acceptance("T15")
async def test_a_function_is_told_of_calls() -> None:
    """Once for each, whole; of those that are not tracked it never hears."""
    heard: list[UsageEvent] = []
    async with Trunkline(config(), usage_hooks=[heard.extend]) as line:
        await ask(line, id="")
        await ask(line, track_tokens=False)
    [event] = heard
    [row] = line.store.calls()
    assert (event.call_id, event.attempt) == (row.call.call_id, 1)
    assert event.usage.prompt_tokens == row.call.prompt_tokens > 0
    assert (event.outcome, event.deployment, event.cost_usd) == (
        "complete",
        "demo/demo",
        "0.000000000",
    )


@pytest.mark.acceptance("T15")
async def test_a_hook_that_raises_breaks_no_call() -> None:
    """The call is answered and recorded; the hook is told later, by another process if need be."""

    def hook(events: list[UsageEvent]) -> None:
        raise RuntimeError("no")

    hook.__qualname__ = "hook"
    async with Trunkline(config(), usage_hooks=[hook]) as line:
        await ask(line)
    assert len(line.store.calls()) == 1
    heard: list[UsageEvent] = []

    def again(events: list[UsageEvent]) -> None:
        heard.extend(events)

    again.__qualname__ = "hook"
    clock = ManualClock(start_ns=line.clock.now_ns() + 10**10)
    async with Trunkline(config(), usage_hooks=[again], clock=clock) as line:
        pass
    assert len(heard) == 1


@pytest.mark.acceptance("T15")
async def test_a_webhook_that_hangs_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither calls nor ingestion; closing waits for so long and no longer."""
    monkeypatch.setattr("trunkline.client._HOOKS_S", 0.05)
    monkeypatch.setattr("trunkline.egress._POST_TIMEOUT_S", 20)
    with FakeUpstream.in_thread(lambda request: hang()) as up:
        hook = {"url": up.url, "secret": "s" * 16, "allow_private": True}
        async with asyncio.timeout(10), Trunkline(config(hook)) as line:
            for number in range(1, 4):
                await ask(line)
                await asyncio.to_thread(line.flush)
                assert len(line.store.calls()) == number


async def test_a_reloaded_webhook() -> None:
    """The new address is told what ends from then on."""
    with FakeUpstream.in_thread(lambda request: Status(200)) as up:
        hook = {"url": up.url, "secret": "s" * 16, "allow_private": True}
        async with Trunkline(config()) as line:
            await ask(line)
            line.flush()
            line.reload(config(hook))
            await ask(line)
        assert len(up.requests) == 1


def test_a_hook_that_is_none() -> None:
    """Refused where it is given."""
    with pytest.raises(InputError, match="cannot be called"):
        Trunkline(config(), usage_hooks=[1])  # type: ignore[list-item]
