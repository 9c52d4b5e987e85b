"""Valkey in front of PostgreSQL, both real: forgotten, stopped, silent, shared by processes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.integration.test_ledger_processes import (
    AFFORDED,
    CALLS,
    CONFIG,
    COST_NUSD,
    ROOT,
    SCRIPT,
    done,
)  # fmt: skip
from tests.servers import Valkey as Server
from trunkline.accounting.leases import ENOUGH_HOLDS, Back, Refusal, Want
from trunkline.accounting.period import window
from trunkline.client import Trunkline
from trunkline.storage import valkey_leases
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.postgres import PostgresDatabase
from trunkline.storage.store import Store
from trunkline.storage.valkey import Valkey
from trunkline.storage.valkey_leases import ValkeyLeases

LIMIT_NUSD = 1000
HOLD_NUSD = LIMIT_NUSD // ENOUGH_HOLDS + 1
"""Nobody is granted more than is needed."""
NOW_NS = time.time_ns()
EVER = window("total", NOW_NS)

Open = Callable[..., ValkeyLeases]


@pytest.fixture
def leases(database_url: str, valkey: Server) -> Iterator[Open]:
    """Open the leases of one process; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(url: str = valkey.url) -> ValkeyLeases:
            found = ValkeyLeases(PostgresDatabase(database_url), Valkey(url))
            stack.callback(found.close)
            return found

        yield make


def want(nusd: int, scope: str = "global", limit_nusd: int = LIMIT_NUSD) -> Want:
    """Ask for so much and no more, of a budget of 1000 nano-USD."""
    return Want(scope, "total", EVER, limit_nusd, HOLD_NUSD, nusd, 0, NOW_NS)


def spend(leases: ValkeyLeases, owner: str, nusd: int, most: int = 1000) -> int:
    """Ask for `nusd` until it is refused; return how much was granted."""
    granted_nusd = 0
    for _ in range(most):
        answer = leases.grant(owner, [want(nusd)])
        if isinstance(answer, Refusal):
            break
        granted_nusd += answer[0].nusd
    return granted_nusd


def fill(leases: ValkeyLeases, owner: str) -> None:
    """Ask the first time: the account is made, and half of what is left goes to a pool."""
    assert not isinstance(leases.grant(owner, [want(0)]), Refusal)


def asked(valkey: Server, command: str) -> int:
    """Return how often the server was asked something."""
    with redis.Redis.from_url(valkey.url) as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_a_hold_is_one_command_to_valkey(leases: Open, valkey: Server) -> None:
    """Over all accounts of a call; PostgreSQL is not asked."""
    mine = leases()
    wants = [want(5), want(5, "user:u"), want(5, "team:t")]
    first = [each._replace(need_nusd=0) for each in wants]
    assert not isinstance(mine.grant("a", first), Refusal)
    before = asked(valkey, "evalsha")
    mine._database.close()
    for _ in range(20):
        answer = mine.grant("a", wants)
        assert not isinstance(answer, Refusal)
        assert [grant.nusd for grant in answer] == [5, 5, 5]
    assert mine._database._db is None  # type: ignore[attr-defined]
    assert asked(valkey, "evalsha") - before == 20


def test_the_last_nano_dollar_can_be_spent(leases: Open) -> None:
    """By whoever asks, wherever it is: what a refused one drew goes back."""
    first, second = leases(), leases()
    fill(first, "a")
    fill(second, "b")
    assert isinstance(second.grant("b", [want(LIMIT_NUSD + 1)]), Refusal)
    assert spend(first, "a", 3, most=300) == 900
    assert isinstance(second.grant("b", [want(101)]), Refusal)
    assert not isinstance(second.grant("b", [want(100)]), Refusal)
    assert spend(first, "a", 1) == spend(second, "b", 1) == 0
    first.give_back("a", [Back("global", "total", EVER.bucket_ns, 900)])
    assert spend(second, "b", 50) == 900


@pytest.mark.parametrize("lost", ["flushed", "restarted"])
def test_what_valkey_forgets_is_not_spent_twice(leases: Open, valkey: Server, lost: str) -> None:
    """Nor lost: whether it has nothing any more, or an older figure."""
    first, second = leases(), leases()
    fill(first, "a")
    fill(second, "b")
    with redis.Redis.from_url(valkey.url) as client:
        client.save()
        granted_nusd = spend(first, "a", 10, most=20)
        if lost == "flushed":
            client.flushall()
            client.script_flush()
        else:  # with the file of before
            client.config_set("save", "")
            valkey.stop()
            valkey.start()
            assert client.keys()
    granted_nusd += spend(second, "b", 10) + spend(first, "a", 10)
    assert granted_nusd <= LIMIT_NUSD
    for _ in range(2):
        for each in (first, second):
            each.tend()
    assert granted_nusd + spend(second, "b", 10) == LIMIT_NUSD


def test_a_pool_in_which_money_was_lost_is_replaced(leases: Open, valkey: Server) -> None:
    """Although somebody always draws: when an account has refused for a while."""
    first, second = leases(), leases()
    fill(first, "a")
    fill(second, "b")
    with redis.Redis.from_url(valkey.url) as client:
        (key,) = client.keys()
        client.hincrby(key, "left", -400)  # as if an answer had not come
    granted_nusd = spend(first, "a", 10) + spend(second, "b", 10)
    assert granted_nusd == LIMIT_NUSD - 400
    until_s = time.monotonic() + 10
    while granted_nusd < LIMIT_NUSD and time.monotonic() < until_s:
        time.sleep(0.1)
        granted_nusd += spend(first, "a", 10) + spend(second, "b", 10)
        second.tend()
    assert granted_nusd == LIMIT_NUSD


def test_a_lower_limit_counts_at_once(leases: Open) -> None:
    """What the pool was filled with under the higher one is not handed out under it."""
    mine = leases()
    fill(mine, "a")
    assert isinstance(mine.grant("a", [want(50, limit_nusd=40)]), Refusal)
    assert not isinstance(mine.grant("a", [want(40, limit_nusd=40)]), Refusal)
    assert isinstance(mine.grant("a", [want(1, limit_nusd=40)]), Refusal)


def pools_of(leases: ValkeyLeases, valkey: Server, scope: str = "global") -> tuple[int, int]:
    """Return what PostgreSQL has granted to the pool of an account, and what Valkey has left."""
    with redis.Redis.from_url(valkey.url) as client:
        (key,) = client.keys(f"*:{scope}:total:*")
        left = int(client.hget(key, "left"))
    held = [each for each in SqlLeases(leases._database).holdings() if each.scope == scope]
    return sum(each.granted_nusd for each in held if each.owner.startswith("valkey:")), left


def test_what_was_told_goes_back_to_postgresql(
    leases: Open, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool was granted less since then; what was not told goes back to the pool."""
    monkeypatch.setattr(valkey_leases, "_TELL_S", 0)
    mine, back = leases(), Back("global", "total", EVER.bucket_ns, 30)
    fill(mine, "a")
    assert spend(mine, "a", 10, most=3) == 30
    mine.give_back("a", [back])
    assert pools_of(mine, valkey) == (500, 500)
    assert spend(mine, "a", 10, most=3) == 30
    mine.tend()
    assert pools_of(mine, valkey) == (470, 470)
    mine.give_back("a", [back])
    assert pools_of(mine, valkey) == (470, 470)
    assert mine.look("global", "total", EVER).exposed_nusd == 0


def test_what_a_refused_call_drew_is_free_again(leases: Open, valkey: Server) -> None:
    """On every account, whichever refuses; and no pool is granted less than it has."""
    mine = leases()
    wants = [want(0), want(0, "user:u")]
    assert not isinstance(mine.grant("a", wants), Refusal)
    asked = [want(200), want(LIMIT_NUSD + 1, "user:u")]
    assert isinstance(mine.grant("a", asked), Refusal)
    assert pools_of(mine, valkey) == (300, 300)
    for scope in ("global", "user:u"):
        assert mine.look(scope, "total", EVER).exposed_nusd == 0
    assert spend(mine, "a", 10) == LIMIT_NUSD


def test_valkey_that_is_away_is_not_waited_for(leases: Open, valkey: Server) -> None:
    """PostgreSQL grants alone, all that there is; when it is back it is asked again."""
    first, second = leases(), leases()
    fill(first, "a")
    fill(second, "b")
    valkey.stop()
    assert spend(first, "a", 10, most=5) == 50
    first.tend()
    second.tend()
    second.tend()
    assert spend(first, "a", 10, most=90) == 900
    valkey.start()
    first._valkey._rests_until_s = 0.0
    before = asked(valkey, "evalsha")
    first.give_back("a", [Back("global", "total", EVER.bucket_ns, 900)])
    assert spend(first, "a", 10) == 950
    assert asked(valkey, "evalsha") > before


def test_a_silent_valkey_costs_a_quarter_of_a_second(leases: Open) -> None:
    """Once: it is left alone for a second then."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mine = leases(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began_s = time.monotonic()
        assert spend(mine, "a", 10, most=3) == 30
        assert time.monotonic() - began_s < 1.0
        assert not mine._valkey.usable


def test_the_dead_keep_a_pool_until_they_are_buried(leases: Open, database_url: str) -> None:
    """What they drew and did not tell may be spent; afterwards all that is left can be."""
    dead, mine = leases(), leases()
    fill(dead, "a")
    assert spend(dead, "a", 10, most=3) == 30
    dead.leave_parent()
    assert spend(mine, "b", 10) == LIMIT_NUSD - 30
    for _ in range(2):
        mine.tend()
    assert mine.look("global", "total", EVER).exposed_nusd == LIMIT_NUSD
    with contextlib.closing(Store(PostgresDatabase(database_url))) as store:
        store.release("a")
    assert mine.look("global", "total", EVER).exposed_nusd == LIMIT_NUSD - 30
    assert spend(mine, "b", 10) == 30


@pytest.mark.slow
def test_processes_spend_a_budget_to_the_last_nano_dollar(
    database_url: str, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many calls are answered as the budget affords, although Valkey forgets all meanwhile."""
    monkeypatch.setenv("TRUNKLINE_DATABASE_URL", database_url)
    monkeypatch.setenv("TRUNKLINE_REDIS_URL", valkey.url)
    command = [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps(CONFIG), str(CALLS), "0.05"]
    with contextlib.ExitStack() as running:
        processes: list[subprocess.Popen[str]] = []
        for _ in range(4):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
            )
            running.enter_context(process)
            running.callback(process.kill)
            processes.append(process)
        out = processes[0].stdout
        assert out is not None
        first = out.readline()  # "" where the others were faster
        valkey.flush()
        others = sum(done(process) for process in processes[1:])
        assert (first + out.read()).count("done") + others == AFFORDED
    line = Trunkline.from_config(CONFIG)
    line.flush()
    [account] = line.ledger.accounts()
    seen = line._parts._leases.look("global", "total", account.purse.window)
    assert (seen.settled_nusd, seen.exposed_nusd) == (AFFORDED * COST_NUSD, 0)
