"""What calls do while something beside them is away: the ledger, Valkey, the log."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.servers import Postgres, Valkey
from trunkline import Trunkline, complete, errors
from trunkline.testing import FakeUpstream, Json, chat_answer, chat_usage

HELLO = [{"role": "user", "content": "Hello!"}]
MODEL = {"name": "gpt-4o", "price": {"input": 1.0, "output": 1.0}}
COST_NUSD = 2_000_000
MONTH = {"amount": 1, "period": "month"}


@pytest.fixture(autouse=True)
def answering(up: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose answers cost that."""
    monkeypatch.setenv("TRUNKLINE_SECRET", "s" * 32)
    up.on(lambda request: Json(chat_answer("ok", usage=chat_usage(1000, 1000))))


async def call(tenant_id: str) -> str:
    """Make a call for a tenant."""
    return (await complete("openai/gpt-4o", HELLO, tenant_id=tenant_id)).content


def settled(line: Trunkline, *tenants: str) -> list[int]:
    """Return what is on record."""
    line.flush()
    return [line.store.settled(f"tenant:{tenant}", 0) for tenant in tenants]


@pytest.mark.acceptance("A25")
async def test_the_ledger_is_away(
    postgres: Postgres, database_url: str, up: FakeUpstream, make_line: MakeLine
) -> None:
    """Each budget says what holds then; who has none is answered. Afterwards all is on record."""
    line = make_line(
        providers={"openai": openai_at(up, models=[MODEL])},
        budgets=[
            {"scope": "tenant:closed", **MONTH},
            {"scope": "tenant:open", **MONTH, "when_store_down": "open"},
        ],
        storage={"database_url": database_url},
    )
    postgres.stop()
    with pytest.raises(errors.RecordError) as caught:
        await call("closed")
    assert caught.value.status == 503
    assert up.requests == []
    assert [await call(tenant) for tenant in ("open", "none")] == ["ok", "ok"]
    postgres.start()
    assert await call("closed") == "ok"
    assert settled(line, "closed", "open", "none") == [COST_NUSD] * 3


@pytest.mark.acceptance("A25")
async def test_valkey_is_away(
    valkey: Valkey, database_url: str, up: FakeUpstream, make_line: MakeLine
) -> None:
    """Nobody notices: PostgreSQL is asked instead, and the budget is the same one."""
    line = make_line(
        providers={"openai": openai_at(up, models=[MODEL])},
        budgets=[{"scope": "tenant:t", "amount": "0.0055", "period": "month"}],
        storage={"database_url": database_url, "redis_url": valkey.url},
    )
    assert await call("t") == "ok"
    valkey.stop()
    assert await call("t") == "ok"
    assert settled(line, "t") == [2 * COST_NUSD]
    assert await call("t") == "ok"
    with pytest.raises(errors.BudgetExhausted):
        await call("t")


@pytest.fixture
def full_log() -> Iterator[None]:
    """Send the log to a disk that is full."""
    logger = logging.getLogger("trunkline")
    level = logger.level
    with contextlib.suppress(OSError), open("/dev/full", "w") as file:  # also when it is closed
        handler = logging.StreamHandler(file)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        yield
        logger.setLevel(level)
        logger.removeHandler(handler)


@pytest.mark.acceptance("A25")
@pytest.mark.usefixtures("full_log")
async def test_the_log_is_away(
    up: FakeUpstream, make_line: MakeLine, capfd: pytest.CaptureFixture[str]
) -> None:
    """Calls are answered and recorded all the same."""
    line = make_line(providers={"openai": openai_at(up, models=[MODEL])})
    assert [await call("t") for _ in range(3)] == ["ok"] * 3
    assert settled(line, "t") == [3 * COST_NUSD]
    assert "No space left" in capfd.readouterr().err
