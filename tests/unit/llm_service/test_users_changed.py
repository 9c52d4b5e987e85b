"""Allowances that are changed by somebody else, and when they start again."""

import datetime
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trunkline import Trunkline, Users, errors
from trunkline.config import from_mapping
from trunkline.gateway.admin.registry import Registry
from trunkline.storage import principals
from trunkline.storage.snapshot import snapshot
from trunkline.testing import ManualClock
from trunkline.types import Principal

USD = 10**9
NIGHT = datetime.datetime(2026, 11, 20, 22, 30, tzinfo=datetime.UTC)
"""Half past eleven in Berlin."""


@pytest.fixture
def clock() -> ManualClock:
    """A clock that shows `NIGHT`."""
    return ManualClock(int(NIGHT.timestamp()) * 10**9)


@pytest.fixture
async def line(clock: ManualClock) -> AsyncIterator[Trunkline]:
    """A line by that clock."""
    async with Trunkline(from_mapping({}, dict(os.environ)), clock=clock) as made:
        yield made


@pytest.fixture
def registry(line: Trunkline, clock: ManualClock) -> Registry:
    """What administrators change users with, in another process."""
    return Registry(line.store.database, b"p" * 32, clock)


async def test_the_last_24_hours(line: Trunkline, clock: ManualClock) -> None:
    """A rolling allowance does not start again at midnight."""
    users = Users(line, allowance_usd=5, period="day", rolling=True)
    await users.add_usage("u", 4.5)
    line.flush()
    clock.advance(2 * 3600)
    assert await users.left_nusd("u") == USD // 2
    clock.advance(24 * 3600)
    assert await users.left_nusd("u") == 5 * USD


async def test_midnight_somewhere(line: Trunkline, clock: ManualClock) -> None:
    """It starts again at that of its time zone, and the next process reads which that is."""
    users = Users(line, allowance_usd=5, period="day", timezone="Europe/Berlin")
    elsewhere = Users(line, allowance_usd=5, period="day")
    for name, service in (("u", users), ("v", elsewhere)):
        await service.add_usage(name, 4.5)
    clock.advance(3600)
    assert await users.left_nusd("u") == 5 * USD
    assert await elsewhere.left_nusd("v") == USD // 2
    async with Trunkline(line.config, clock=clock) as later:
        line.flush()
        assert await Users(later, allowance_usd=9).left_nusd("u") == 5 * USD


async def test_a_change_elsewhere_is_known_after_a_second(
    line: Trunkline, registry: Registry, clock: ManualClock
) -> None:
    """The amount and the period; what was spent stays spent."""
    users = Users(line, allowance_usd=5)
    await users.add_usage("u", 4.5)
    registry.change("users", "u", {"allowance_usd": 50})
    assert await users.left_nusd("u") == USD // 2
    clock.advance(1)
    assert await users.left_nusd("u") == 45_500_000_000
    line.flush()
    registry.change("users", "u", {"allowance_usd": 20, "allowance_period": "total"})
    clock.advance(1)
    assert await users.left_nusd("u") == 15_500_000_000
    account = line.ledger.granted("u")
    assert account is not None
    assert account.period == "total:allowance"


async def test_one_that_is_taken_away_is_given_anew(
    line: Trunkline, registry: Registry, clock: ManualClock
) -> None:
    """As to a user who is not known: with what new users have."""
    users = Users(line, allowance_usd=5)
    await users.require_allowance("u")
    await users.set_allowance("u", 50)
    registry.change("users", "u", {"allowance_usd": None})
    clock.advance(1)
    assert await users.left_nusd("u") == 5 * USD


async def test_other_users_are_not_read_again(
    line: Trunkline, registry: Registry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing has changed, the number of changes is all that is asked."""
    users = Users(line, allowance_usd=5)
    await users.left_nusd("u")
    clock.advance(1)
    await users.left_nusd("u")
    clock.advance(1)
    with monkeypatch.context() as without:
        without.setattr("trunkline.llm_service.users.UserTable", None)
        assert await users.left_nusd("u") == 5 * USD


async def test_while_the_database_is_away(
    line: Trunkline, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is known goes by what was known; it is asked for once a second, not for each call."""
    users = Users(line, allowance_usd=5)
    await users.left_nusd("u")
    asked = []

    def away(db: object) -> int:
        asked.append(1)
        raise errors.RecordError("the disk is gone")

    clock.advance(1)
    with monkeypatch.context() as patched:
        patched.setattr(principals, "version", away)
        for _ in range(3):
            await users.require_allowance("u")
    assert len(asked) == 1


async def test_library_and_gateway_keep_one_account(
    line: Trunkline, clock: ManualClock, tmp_path: Path
) -> None:
    """What a user's keys spend at the gateway is gone for `Users`, and the other way round."""
    users = Users(line, allowance_usd=5)
    await users.add_usage("u", 1.0)
    async with Trunkline(line.config, clock=clock) as gateway:
        gateway.follow(snapshot(line.store.database, ["u"]).rules)
        gateway.charge(Principal(user_id="u"), 2 * USD)
        gateway.flush()
        (theirs,) = gateway.ledger.accounts()
        own = line.ledger.granted("u")
        assert own is not None
        assert theirs.period == own.period == "month:allowance"
    with line.store.database.session() as db:
        accounts = db.execute("SELECT scope, period, settled_nusd FROM ledger_accounts").fetchall()
    line.flush()
    assert [tuple(row)[:2] for row in accounts] == [("user:u", "month:allowance")]
    assert line.store.settled("user:u", 0) == 3 * USD
