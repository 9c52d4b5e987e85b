"""Another configuration in place: calls go on, money, health and limits are kept."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from trunkline import Trunkline, errors
from trunkline.config import BudgetRule, Config, from_mapping
from trunkline.llm_service.ask import NOBODY, ask, chat
from trunkline.testing import FakeUpstream, Status

HELLO = [{"role": "user", "content": "Hello!"}]
PRICE = {"input": 1.0, "output": 1.0}
COST_NUSD = 15_000
"""What the provider's answer costs: 10 tokens in, 5 out."""


def settings(up: FakeUpstream, *models: str, provider: Any = None, **more: Any) -> Config:
    """Make a configuration of one provider, with `models` or else the model `one`."""
    listed = [{"name": name, "price": PRICE} for name in models or ("one",)]
    fields = {"api_key": "sk-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    providers = {"openai": {**fields, "models": listed, **(provider or {})}}
    return from_mapping({"llm_service": {"providers": providers, **more}}, os.environ)


def budget(**fields: Any) -> list[dict[str, Any]]:
    """Write a budget."""
    return [{"scope": "global", "amount": 1, "period": "month", **fields}]


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    """A scripted provider."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def line(up: FakeUpstream) -> AsyncIterator[Trunkline]:
    """A line with the model `one` and a budget."""
    async with Trunkline(settings(up, budgets=budget())) as made:
        yield made


async def once(line: Trunkline, model: str = "one", **parameters: Any) -> str:
    """Make one call."""
    message, _ = await ask(line, chat(HELLO, model, parameters), NOBODY)
    return message.text


async def test_models_come_and_go(up: FakeUpstream, line: Trunkline) -> None:
    """A new name is answered at once, an old one is not found any more."""
    with pytest.raises(errors.ModelNotFound):
        await once(line, "two")
    line.reload(settings(up, "two"))
    assert await once(line, "two") == "Hello."
    assert line.models() == ["two"]
    with pytest.raises(errors.ModelNotFound, match="'one'"):
        await once(line)


async def test_an_open_reply_ends_by_what_it_began_with(up: FakeUpstream, line: Trunkline) -> None:
    """Its model went, its budget has another amount; it is read, settled and recorded."""
    reply = await line(chat(HELLO, "one", stream=True))
    [account] = line.ledger.accounts()
    assert account.held_nusd > 0
    line.reload(settings(up, "two", budgets=budget(amount="0.00001", mode="soft")))
    assert (await reply.message()).text == "Hello."
    assert line.ledger.accounts() == (account,)
    assert (account.settled_nusd, account.held_nusd) == (COST_NUSD, 0)
    line.flush()
    [row] = line.store.calls(5)
    assert (row.call.outcome, row.call.cost_nusd) == ("complete", COST_NUSD)


async def test_a_budget_that_appears_knows_what_was_spent(
    up: FakeUpstream, line: Trunkline
) -> None:
    """The records are asked, those that are not in the store yet included."""
    line.reload(settings(up))
    await once(line)
    line.reload(settings(up, budgets=budget(period="day")))
    await once(line)
    [account] = line.ledger.accounts()
    assert account.settled_nusd == 2 * COST_NUSD


async def test_a_strict_budget_that_appears_is_given_proofs(
    up: FakeUpstream, line: Trunkline
) -> None:
    """A bounded call passes, an unbounded one is refused; when it went, both pass."""
    line.reload(settings(up, budgets=budget(mode="strict")))
    assert await once(line, max_tokens=10) == "Hello."
    with pytest.raises(errors.PriceUnknown, match="proven bound"):
        await once(line)
    line.reload(settings(up, budgets=budget()))
    assert await once(line) == "Hello."


async def test_a_rate_limit_keeps_its_level(up: FakeUpstream, line: Trunkline) -> None:
    """A reload is no way round it."""
    limited = settings(up, provider={"rate_limits": {"requests_per_minute": 1}})
    line.reload(limited)
    await once(line)
    line.reload(limited)
    with pytest.raises(errors.RateLimited):
        await once(line)


async def test_slots_stay_taken(up: FakeUpstream, line: Trunkline) -> None:
    """A call from before the reload counts against `max_parallel` after it."""
    limited = settings(up, provider={"max_parallel": 1})
    line.reload(limited)
    first = await line(chat(HELLO, "one", stream=True))
    line.reload(limited)
    second = asyncio.create_task(once(line))
    await asyncio.wait({second}, timeout=0.1)
    assert not second.done()
    await first.message()
    assert await second == "Hello."


async def test_a_resting_deployment_goes_on_resting(up: FakeUpstream, line: Trunkline) -> None:
    """Its failures are not forgotten."""
    up.on(lambda request: Status(500, {"error": {"message": "down"}}))
    for _ in range(5):
        with pytest.raises(errors.UpstreamFailed):
            await once(line)
    line.reload(settings(up))
    with pytest.raises(errors.CircuitOpen):
        await once(line)
    assert len(up.requests) == 5


async def test_the_data_folder_cannot_change(
    up: FakeUpstream, line: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, and everything is as it was."""
    monkeypatch.setenv("TRUNKLINE_DATA", "elsewhere")
    before = line.config
    with pytest.raises(errors.ConfigError, match=r"TRUNKLINE_DATA: found '.*elsewhere'; .*restart"):
        line.reload(settings(up, "two", budgets=budget(amount=2)))
    assert line.config is before
    assert await once(line) == "Hello."
    assert line.ledger.accounts()[0].rule.amount_nusd == 10**9


def test_reloads_in_the_middle_of_other_threads_calls() -> None:
    """Loops in threads call while two threads reload: no call fails, all money is counted."""
    with FakeUpstream.in_thread() as up:
        config = settings(up, budgets=budget())
        line = Trunkline(config)
        [account] = line.ledger.accounts()
        done = threading.Event()
        failures: list[BaseException] = []

        def swap() -> None:
            while not done.is_set():
                line.reload(config)
                done.wait(0.001)

        async def some() -> None:
            await asyncio.gather(*(once(line, max_tokens=10) for _ in range(10)))

        def work() -> None:
            try:
                for _ in range(3):
                    asyncio.run(some())
            except BaseException as error:
                failures.append(error)

        swappers = [threading.Thread(target=swap) for _ in range(2)]
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in (*swappers, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        for thread in swappers:
            thread.join()
        assert failures == []
        assert line.ledger.accounts() == (account,)
        assert (account.settled_nusd, account.held_nusd) == (120 * COST_NUSD, 0)
        line.flush()
        assert sum(row.requests for row in line.store.usage("model", None)) == 120


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_reload() -> None:
    """Also when a thread of the parent was in the middle of it."""
    with FakeUpstream.in_thread() as up:
        line = Trunkline(settings(up))
        line.reload(settings(up, "two"))
        with line._reloading:
            if (child := os.fork()) == 0:
                signal.alarm(20)
                line.reload(settings(up, "three"))
                answered = asyncio.run(once(line, "three")) == "Hello."
                os._exit(0 if answered else 1)
            _, status = os.waitpid(child, 0)
        assert status == 0
        assert asyncio.run(once(line, "two")) == "Hello."


async def test_budgets_that_are_not_the_configurations(up: FakeUpstream, line: Trunkline) -> None:
    """They stand beside its own, whatever it becomes, until others take their place."""
    nothing = BudgetRule(scope="provider:openai", amount_nusd=0, period="day", mode="strict")
    line.follow([nothing])
    for _ in range(2):
        with pytest.raises(errors.BudgetExhausted):
            await once(line, max_tokens=5)
        line.reload(settings(up))
    assert up.requests == []
    line.follow([])
    await once(line)
    assert len(up.requests) == 1
