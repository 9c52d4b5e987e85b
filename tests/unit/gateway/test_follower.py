"""A worker follows the database: keys and budgets that were made at run time."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.gateway.talk import ADMIN_KEY, ask, said
from trunkline import Trunkline
from trunkline.config import Key
from trunkline.errors import RecordError
from trunkline.gateway import follower as module
from trunkline.gateway.app import Gateway
from trunkline.gateway.follower import Follower
from trunkline.gateway.keys import KeyRing
from trunkline.storage import principals
from trunkline.storage.principals import ApiKey, Budget, Person
from trunkline.types import Secret

CALL = b'{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}'
MADE = "tl-made-at-run-time"
KEY = ApiKey(id="key_1", name="k", prefix="tl-made", user_id="ada", created_ns=1)
NOTHING_LEFT = Budget(id="bud_1", scope="user:ada", amount_nusd=0, period="day", created_ns=1)


@pytest.fixture
async def line() -> AsyncIterator[Trunkline]:
    """A line whose model has a price."""
    priced = {"name": "demo", "price": {"input": 1, "output": 1}}
    settings = {"default_provider": "demo", "providers": {"demo": {"models": [priced]}}}
    async with Trunkline.from_config({"llm_service": settings}) as found:
        yield found


@pytest.fixture
def ring() -> KeyRing:
    """No declared keys."""
    return KeyRing(b"p" * 32, ADMIN_KEY, ())


def write(line: Trunkline, ring: KeyRing, *items: ApiKey | Budget) -> None:
    """Write rows, as the registry does."""
    with line.store.database.session(write=True) as db:
        for item in items:
            if isinstance(item, Budget):
                principals.BUDGETS.put(db, item)
            else:
                principals.KEYS.put(db, item)
                principals.renew(db, item.id, ring._digest(MADE), 0)
        principals.count(db)


async def call(gateway: Gateway) -> tuple[int, Any]:
    """Make a call with the key; return status and JSON."""
    answer = await ask(gateway, "/v1/chat/completions", CALL, {"authorization": f"Bearer {MADE}"})
    return answer.status, said(answer)


async def test_keys_and_budgets_come_and_go(line: Trunkline, ring: KeyRing) -> None:
    """A key pays for its user, whose budget is there with it; a revoked one is unknown."""
    gateway = Gateway(line, ring)
    follower = Follower(line, gateway)
    await follower.look()
    assert (await call(gateway))[0] == 401
    write(line, ring, KEY)
    await follower.look()
    assert (await call(gateway))[0] == 200
    line.flush()
    [row] = line.store.calls()
    assert (row.call.key_id, row.call.user_id) == ("key_1", "ada")
    write(line, ring, NOTHING_LEFT)
    await follower.look()
    status, told = await call(gateway)
    assert (status, told["error"]["code"]) == (402, "budget_exhausted")
    with line.store.database.session(write=True) as db:
        principals.drop_digests(db, "key_1")
        principals.BUDGETS.drop(db, "bud_1")
        principals.count(db)
    await follower.look()
    assert (await call(gateway))[0] == 401
    assert line.ledger.accounts() == ()


async def test_a_reload_keeps_them(line: Trunkline, ring: KeyRing) -> None:
    """Another configuration changes nothing about what is made at run time."""
    write(line, ring, KEY, NOTHING_LEFT)
    gateway = Gateway(line, ring)
    await Follower(line, gateway).look()
    gateway.reload(line.config)
    assert (await call(gateway))[0] == 402


async def test_nothing_is_read_where_nothing_has_changed(
    line: Trunkline, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of changes is all that is asked for each second."""
    follower = Follower(line, Gateway(line, ring))
    await follower.look()
    monkeypatch.setattr(module, "snapshot", lambda *args: pytest.fail("it was read"))
    await follower.look()


async def test_users_of_declared_keys(line: Trunkline, ring: KeyRing) -> None:
    """Their allowance counts, though they have no other key; also of a key that comes later."""
    with line.store.database.session(write=True) as db:
        user = Person(id="ada", allowance_nusd=0, period="day", created_ns=1)
        principals.PERSONS.put(db, user)
    gateway = Gateway(line, ring)
    follower = Follower(line, gateway)
    await follower.look()
    assert line.ledger.accounts() == ()
    declared = Key(name="ci", secret=Secret(MADE), user_id="ada")
    gateway.reload(replace(line.config, keys=(declared,)))
    await follower.look()
    status, told = await call(gateway)
    assert (status, told["error"]["code"]) == (402, "budget_exhausted")


async def test_a_worker_that_starts_while_the_database_is_away(
    line: Trunkline,
    ring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It goes by what the one before it knew, which is said once, until the database is back."""
    write(line, ring, KEY, replace(NOTHING_LEFT, scope="team:none"))
    await Follower(line, Gateway(line, ring)).look()
    line.follow(())

    def away(db: object) -> int:
        raise RecordError("the disk is gone")

    fresh = KeyRing(b"p" * 32, ADMIN_KEY, ())
    gateway = Gateway(line, fresh)
    follower = Follower(line, gateway)
    with monkeypatch.context() as patched:
        patched.setattr(principals, "version", away)
        for _ in range(3):
            await follower.look()
        assert (await call(gateway))[0] == 200
        assert (await ask(gateway, "/ready", method="GET")).status == 200
    assert caplog.text.count("known before this process started") == 1
    assert [account.rule.scope for account in line.ledger.accounts()] == ["team:none"]
    write(line, ring, NOTHING_LEFT)
    await follower.look()
    assert (await call(gateway))[0] == 402


async def test_a_data_folder_that_is_full(
    line: Trunkline,
    ring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys and budgets are taken all the same, and it is said."""

    def full(*args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(module, "keep", full)
    write(line, ring, KEY)
    gateway = Gateway(line, ring)
    await Follower(line, gateway).look()
    assert (await call(gateway))[0] == 200
    assert "cannot be kept for workers to come: no space left" in caplog.text


async def test_a_database_that_goes_away(
    line: Trunkline,
    ring: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All stays as it was, which is said once; afterwards it is read again."""
    write(line, ring, KEY)
    gateway = Gateway(line, ring)
    follower = Follower(line, gateway)
    await follower.look()

    def away(db: object) -> int:
        raise RecordError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(principals, "version", away)
        for _ in range(3):
            await follower.look()
        assert caplog.text.count("stay as they were: the disk is gone") == 1
        assert (await call(gateway))[0] == 200
    write(line, ring, NOTHING_LEFT)
    await follower.look()
    assert (await call(gateway))[0] == 402


async def test_before_the_database_was_read(
    line: Trunkline, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    """No call is answered, for nobody knows the budgets; then all is well."""
    file = line.config.data_dir / "trunkline.db"
    file.mkdir(parents=True)
    gateway = Gateway(line, ring)
    follower = Follower(line, gateway)
    await follower.look()
    assert "cannot use the database" in caplog.text
    status, told = await call(gateway)
    assert (status, told["error"]["code"]) == (503, "record_unwritable")
    assert (await ask(gateway, "/ready", method="GET")).status == 503
    assert (await ask(gateway, "/v1/models", method="GET")).status == 200
    file.rmdir()
    write(line, ring, KEY)
    await follower.look()
    assert (await ask(gateway, "/ready", method="GET")).status == 200
    assert (await call(gateway))[0] == 200
