"""Seed 000's user service: asked before, charged once after; any object's, and the built-in one."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import Trunkline, Users, call_llm, errors, stream_llm
from trunkline.testing import (
    FakeUpstream,
    Json,
    ManualClock,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
)

HELLO = [{"role": "user", "content": "Hello!"}]
INFO = {"name": "Ada", "email": "ada@example.org"}
MODEL = {"name": "m", "price": {"input": 1000, "output": 2000}}
"""A tenth of a cent for a token in, twice that for one out."""
Said = list[tuple[Any, ...]]


class Notes:
    """A user service that notes what it is told, and how many requests had been sent by then."""

    def __init__(self, up: FakeUpstream, *, refuse: bool = False) -> None:
        self.said: Said = []
        self._up = up
        self._refuse = refuse

    def require_allowance(self, user_id: str, basic_info: dict[str, Any] | None = None) -> None:
        """Note it, and refuse if told to."""
        self.said.append(("require", user_id, basic_info, len(self._up.requests)))
        if self._refuse:
            raise PermissionError("over the limit")

    def add_usage(
        self, user_id: str, response_cost: float, basic_info: dict[str, Any] | None = None
    ) -> None:
        """Note it; the second parameter has the seed's own name."""
        assert type(response_cost) is float
        self.said.append(("add", user_id, response_cost, basic_info, len(self._up.requests)))


class Waits(Notes):
    """The same with coroutine functions."""

    async def require_allowance(  # type: ignore[override]
        self, user_id: str, basic_info: dict[str, Any] | None = None
    ) -> None:
        """Note it a moment later."""
        await asyncio.sleep(0)
        super().require_allowance(user_id, basic_info)

    async def add_usage(  # type: ignore[override]
        self, user_id: str, response_cost: float, basic_info: dict[str, Any] | None = None
    ) -> None:
        """Note it a moment later."""
        await asyncio.sleep(0)
        super().add_usage(user_id, response_cost, basic_info)


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line with one model that has a price."""
    return make_line(default_provider="openai", providers={"openai": openai_at(up, models=[MODEL])})


async def ask(service: Any, user_id: str | None = "u", **parameters: Any) -> str:
    """Make one call."""
    content, _ = await call_llm(
        "openai", "m", HELLO, parameters, None, service, user_id, user_basic_info=INFO
    )
    return content


async def read(service: Any, user_id: str = "u", *, until: int = 10**6) -> int:
    """Stream one answer, at most `until` chunks of it; return how many came."""
    count = 0
    stream = stream_llm("openai", "m", HELLO, {"max_tokens": 100}, service, user_id, INFO)
    async with aclosing(stream) as chunks:
        async for _ in chunks:
            count += 1
            if count == until:
                break
    return count


def answers(up: FakeUpstream, prompt_tokens: int, completion_tokens: int) -> None:
    """Answer everything with so many tokens."""
    usage = chat_usage(prompt_tokens, completion_tokens)
    up.on(lambda request: Json(chat_answer("ok", usage=usage)))


# --- any service ---------------------------------------------------------------------------------


@pytest.mark.acceptance("G11", "G12")
@pytest.mark.parametrize("kind", [Notes, Waits])
async def test_asked_before_and_charged_once_after(
    line: Trunkline, up: FakeUpstream, kind: type[Notes]
) -> None:
    """Order and arguments are the seed's; the cost is price times tokens, and on the row too."""
    answers(up, 1000, 100)
    service = kind(up)
    await ask(service)
    assert service.said == [("require", "u", INFO, 0), ("add", "u", 1.2, INFO, 1)]
    line.flush()
    [row] = line.store.calls()
    assert (row.call.user_id, row.call.model, row.call.cost_nusd) == ("u", "m", 1_200_000_000)


@pytest.mark.acceptance("G12")
async def test_retries_are_charged_together(up: FakeUpstream, make_line: MakeLine) -> None:
    """One call is one `add_usage`, with what all of its attempts cost."""
    make_line(
        default_provider="openai",
        providers={"openai": openai_at(up, models=[MODEL]) | {"retries": 1}},
    )
    service = Notes(up)
    usage = chat_usage(100, 10)
    up.script(Status(500), Json(chat_answer("ok", usage=usage)))
    await ask(service)
    assert service.said[1:] == [("add", "u", 0.12, INFO, 2)]


@pytest.mark.acceptance("G12")
async def test_a_call_that_failed_is_charged_what_it_cost(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Nothing, if the provider refused it."""
    service = Notes(up)
    up.script(Status(400, {"error": {"message": "no"}}))
    with pytest.raises(errors.Refused):
        await ask(service)
    assert service.said[1:] == [("add", "u", 0.0, INFO, 1)]


@pytest.mark.acceptance("G13", "G29")
@pytest.mark.parametrize("kind", [Notes, Waits])
@pytest.mark.parametrize("face", [ask, read])
async def test_who_is_over_the_limit_is_refused(
    line: Trunkline, up: FakeUpstream, kind: type[Notes], face: Any
) -> None:
    """The service's own error arrives; nothing is sent, nothing is charged."""
    service = kind(up, refuse=True)
    with pytest.raises(PermissionError, match="over the limit"):
        await face(service)
    assert service.said == [("require", "u", INFO, 0)]
    assert up.requests == []


@pytest.mark.acceptance("G15")
async def test_without_a_user_nobody_is_asked(line: Trunkline, up: FakeUpstream) -> None:
    """A service alone does nothing, and neither does a user alone."""
    service = Notes(up)
    await ask(service, None)
    await ask(None, "u")
    assert service.said == []


@pytest.mark.acceptance("G29", "G30")
async def test_a_stream_is_asked_first_and_charged_at_its_end(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Before the first byte goes up; the cost is that of the usage that came."""
    service = Notes(up)
    up.script(Sse(chat_chunks("one two", usage=chat_usage(1000, 100))))
    await read(service)
    assert service.said == [("require", "u", INFO, 0), ("add", "u", 1.2, INFO, 1)]


@pytest.mark.acceptance("G30")
async def test_a_reader_who_leaves_is_charged_for_what_came(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Once, by the time the stream is closed, and as much as the row says."""
    service = Notes(up)
    up.script(Sse(chat_chunks("one two three four five six seven"), delay_s=0.01))
    assert await read(service, until=3) == 3
    [charged] = service.said[1:]
    await up.wait_idle()
    line.flush()
    [row] = line.store.calls()
    assert (row.call.outcome, row.call.cost_state) == ("abandoned", "estimated")
    assert 0 < row.call.completion_tokens < 7
    cost_nusd = 1_000_000 * row.call.prompt_tokens + 2_000_000 * row.call.completion_tokens
    assert row.call.cost_nusd == cost_nusd
    assert charged == ("add", "u", cost_nusd / 10**9, INFO, 1)


# --- the built-in one ----------------------------------------------------------------------------


@pytest.mark.acceptance("G14")
async def test_a_new_user_is_made_from_the_basic_info(line: Trunkline, up: FakeUpstream) -> None:
    """With name, e-mail and the usual allowance; later calls change none of them."""
    users = Users(allowance_usd=20.0)
    assert await users.find("u") is None
    await ask(users)
    user = await users.find("u")
    assert user is not None
    assert (user.id, user.name, user.email) == ("u", "Ada", "ada@example.org")
    assert (user.allowance_nusd, user.period) == (20 * 10**9, "month")
    await users.require_allowance("u", {"name": "Eve", "allowance_usd": 10**6})
    again = Users(allowance_usd=500.0)
    await again.require_allowance("u", {"name": "Eve", "allowance_nusd": 10**18})
    assert await again.find("u") == user


@pytest.mark.acceptance("G12", "G13", "D05")
@pytest.mark.parametrize("face", [ask, read])
async def test_the_ledger_charges_once_and_refuses_at_the_minimum(
    line: Trunkline, up: FakeUpstream, face: Any
) -> None:
    """A dollar must be left; a call is charged its cost and no more; the error is a 402."""
    users = Users(allowance_usd=2.2)
    usage = chat_usage(1000, 100)
    up.script(
        Json(chat_answer("ok", usage=usage)) if face is ask else Sse(chat_chunks(usage=usage))
    )
    await face(users)
    assert await users.left_nusd("u") == 10**9
    with pytest.raises(
        errors.BudgetExhausted, match=r"1\.00 of 2\.20 USD left.*resets at"
    ) as caught:
        await face(users)
    assert caught.value.status == 402
    assert len(up.requests) == 1
    line.flush()
    [row] = line.store.usage("user")
    assert (row.value, row.requests, row.cost_nusd) == ("u", 1, 1_200_000_000)


@pytest.mark.acceptance("D05")
@pytest.mark.parametrize("tokens", [490, 2000])
async def test_a_hundred_calls_at_once_never_overspend(
    line: Trunkline, up: FakeUpstream, tokens: int
) -> None:
    """Of a user and a model nobody knew: what fits is answered, the rest refused, and all adds up.

    The answers are as long as their calls allow; the next test's calls allow anything.
    """
    users = Users(allowance_usd=10.0, minimum_remaining=0)
    usage = chat_usage(10, tokens)
    up.on(lambda request: Json(chat_answer("ok", usage=usage)).late(0.05))
    results = await asyncio.gather(
        *(ask(users, max_tokens=tokens) for _ in range(100)), return_exceptions=True
    )
    refused = [result for result in results if result != "ok"]
    assert all(
        isinstance(error, errors.AllProvidersUnavailable | errors.LocalRefusal) for error in refused
    )
    assert 0 < len(up.requests) == 100 - len(refused) <= 10
    line.flush()
    spent_nusd = line.store.settled("user:u", 0)
    each_nusd = (10 + 2 * tokens) * 1_000_000
    assert spent_nusd == len(up.requests) * each_nusd <= 10 * 10**9
    assert await users.left_nusd("u") == 10 * 10**9 - spent_nusd


async def test_longer_answers_than_estimated_overrun(line: Trunkline, up: FakeUpstream) -> None:
    """As in any hard budget: what was let in is charged in full, then nobody is let in any more."""
    users = Users(allowance_usd=10.0, minimum_remaining=0)
    usage = chat_usage(10, 2000)
    up.on(lambda request: Json(chat_answer("ok", usage=usage)).late(0.05))
    await asyncio.gather(*(ask(users) for _ in range(100)), return_exceptions=True)
    account = line.ledger.granted("u")
    assert account is not None
    assert account.settled_nusd == len(up.requests) * 4_010_000_000
    assert 0 < -account.left_nusd <= account.overrun_nusd
    with pytest.raises(errors.BudgetExhausted):
        await ask(users)


@pytest.mark.acceptance("D05")
async def test_the_clock_resets_an_allowance(up: FakeUpstream, make_line: MakeLine) -> None:
    """No job runs: the first call of the new period finds it whole."""
    config = make_line(providers={"openai": openai_at(up, models=[MODEL])}).config
    clock = ManualClock()
    async with Trunkline(config, clock=clock) as line:
        users = Users(line, allowance_usd=5, period="day")
        await users.add_usage("u", 4.5)
        with pytest.raises(errors.BudgetExhausted, match=r"0\.50 of 5\.00"):
            await users.require_allowance("u")
        clock.advance(86_400)
        await users.require_allowance("u")
        assert await users.left_nusd("u") == 5 * 10**9


async def test_an_allowance_survives_a_restart(up: FakeUpstream, make_line: MakeLine) -> None:
    """What a process has spent, the next one knows."""
    config = make_line(providers={"openai": openai_at(up, models=[MODEL])}).config
    for left_nusd in (5 * 10**9, 2 * 10**9):
        async with Trunkline(config) as line:
            users = Users(line, allowance_usd=5)
            assert await users.left_nusd("u") == left_nusd
            await users.add_usage("u", 3.0)


@pytest.mark.acceptance("D05")
@pytest.mark.parametrize("cost", [-1.0, -1e-9, float("nan"), float("-inf"), True])
async def test_no_cost_gives_money_back(line: Trunkline, cost: float) -> None:
    """A cost that is negative or not a number is refused and changes nothing."""
    users = Users(allowance_usd=5)
    with pytest.raises(errors.InputError, match="cost") as caught:
        await users.add_usage("u", cost)
    assert caught.value.param == "cost"
    assert await users.left_nusd("u") == 5 * 10**9
