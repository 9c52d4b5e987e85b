"""Every call has one identity, on every error and every reply."""

import os
import threading
from typing import Any

import pytest

from tests.unit.layers.double import ENDS, WHOLE, Inner, ask, live
from trunkline.errors import ConnectionLost, InputError, TrunklineError
from trunkline.layers.trace import CallIds, trace
from trunkline.testing import ManualClock
from trunkline.types import Chat, Principal, Prompt, Trail

MS_NS = 1_000_000


def test_ids_are_unique_across_threads() -> None:
    """Threads that make ids at the same instant never make the same."""
    ids = CallIds()
    made: list[list[str]] = []

    def make() -> None:
        made.append([ids.new(0) for _ in range(2000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for some in made for one in some}) == 16_000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_ids_are_unique_across_forks() -> None:
    """A child counts from the same number, but under another random name."""
    ids = CallIds()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, ids.new(0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        theirs = pipe.read()
    ours = ids.new(0)
    assert len(theirs) == len(ours)
    assert theirs[-6:] == ours[-6:]
    assert theirs != ours


def test_processes_have_ids_of_their_own() -> None:
    """Two processes that start together and count alike do not meet."""
    assert CallIds().new(0) != CallIds().new(0)


def test_ids_sort_by_time() -> None:
    """Ids of one process sort in the order of their making, also within a millisecond."""
    ids = CallIds()
    times_ns = [0, 1, MS_NS, MS_NS, 1_800_000_000_000 * MS_NS, 4_000_000_000_000 * MS_NS]
    made = [ids.new(ns) for ns in times_ns]
    assert made == sorted(made)
    assert len({len(one) for one in made}) == 1


async def test_a_call_gets_id_trail_and_start() -> None:
    """The layers below find the call stamped; its reply leads back to it."""
    clock = ManualClock()
    clock.advance(7)
    inner = Inner(WHOLE)
    reply = await trace(clock)(inner)(ask())
    seen = inner.calls[0]
    assert seen.id.startswith("call_")
    assert seen.trail is not None
    assert (seen.trail.started_ns, seen.trail.started_s) == (clock.now_ns(), 7)
    assert reply.call is seen
    await reply.message()


async def test_what_the_caller_brought_is_kept() -> None:
    """A face that brings id and trail can read them after a failure."""
    trail = Trail()
    inner = Inner(ConnectionLost("reset"))
    with pytest.raises(ConnectionLost):
        await trace(ManualClock())(inner)(ask(id="mine", trail=trail))
    assert inner.calls[0].id == "mine"
    assert inner.calls[0].trail is trail


@pytest.mark.parametrize("how", ["failed", "failed in mid-stream", "truncated"])
async def test_every_error_says_which_call_it_ended(how: str) -> None:
    """Before the reply and in its middle, the error carries the id of the call."""
    inner = Inner(ENDS[how][0])
    error = await live(trace(ManualClock())(inner), ask(), how)
    assert isinstance(error, TrunklineError)
    assert error.call_id == inner.calls[0].id


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"principal": Principal(user_id=5)}, "user_id"),  # type: ignore[arg-type]
        ({"principal": Principal(tenant_id=b"t")}, "tenant_id"),  # type: ignore[arg-type]
        ({"model": None}, "model"),
        ({"provider": 3}, "provider"),
        ({"tags": "tag"}, "tags"),
        ({"tags": ("a", 1)}, "tags[1]"),
        ({"run": 1}, "run"),
        ({"stream": 1}, "stream"),
        ({"track_tokens": 0}, "track_tokens"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"model": "m" * 257}, "model"),
        ({"principal": Principal(user_id="u" * 257)}, "user_id"),
        ({"tags": ("t" * 257,)}, "tags[0]"),
        ({"tags": ("t",) * 65}, "tags"),
        ({"tags": ("t" * 240,) * 10}, "tags"),
        ({"tags": ("\xfc" * 120,) * 10}, "tags"),
        ({"tags": ("\ud800" * 250, "\x01" * 250)}, "tags"),
        ({"model": "\x01" * 250}, "model"),
        ({"principal": Principal(user_id="\x01" * 250, team_id="\x01" * 249)}, "user_id"),
        ({"tags": ["t", 1]}, "tags[1]"),
    ],
)
async def test_fields_that_could_not_be_recorded_are_refused(
    fields: dict[str, Any], param: str
) -> None:
    """A number for a name could not be read again, nor a very long one looked up.

    That a call just like it was right before changes nothing.
    """
    await live(trace(ManualClock())(Inner(WHOLE)), ask(), "whole")
    await live(trace(ManualClock())(Inner(WHOLE)), ask(principal=Principal(user_id="u")), "whole")
    for count in (1, 2, 10):
        await live(trace(ManualClock())(Inner(WHOLE)), ask(tags=("t",) * count), "whole")
    inner = Inner(WHOLE)
    with pytest.raises(InputError, match=f"'{param.partition('[')[0]}") as caught:
        await trace(ManualClock())(inner)(ask(**fields))
    assert caught.value.param == param
    assert inner.calls == []


async def test_a_call_that_says_nothing_is_refused() -> None:
    """A typed prompt without messages is no request; nothing below sees it."""
    inner = Inner(WHOLE)
    with pytest.raises(InputError) as caught:
        await trace(ManualClock())(inner)(Chat(model="m", body=Prompt(messages=())))
    assert caught.value.param == "messages"
    assert inner.calls == []
