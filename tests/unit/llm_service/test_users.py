"""The built-in user service: what it lets through, what it charges, what it refuses to be told."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import examples
from trunkline import Trunkline, Users, UserService, errors, llm_service
from trunkline.config import Config, from_mapping
from trunkline.llm_service.ask import Allowance, ask, chat, follow
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
from trunkline.types import Principal

HELLO = [{"role": "user", "content": "Hello!"}]
USD = 10**9


def config(url: str, data: str | None = None) -> Config:
    """Make a configuration with one model: a tenth of a cent for each token."""
    provider = {
        "api_key": "sk-test-123456",
        "base_url": f"{url}/v1",
        "retries": 0,
        "models": [{"name": "m", "price": {"input": 1000, "output": 1000}}],
    }
    environment = dict(os.environ) | ({"TRUNKLINE_DATA": data} if data else {})
    return from_mapping({"llm_service": {"providers": {"openai": provider}}}, environment)


@pytest.fixture
async def line() -> AsyncIterator[Trunkline]:
    """A line whose provider is never asked."""
    async with Trunkline(config("http://127.0.0.1:9")) as made:
        yield made


@pytest.fixture
async def manual() -> AsyncIterator[Trunkline]:
    """The same, by a clock that stands still."""
    async with Trunkline(config("http://127.0.0.1:9"), clock=ManualClock()) as made:
        yield made


def test_it_is_a_user_service() -> None:
    """As `call_llm` wants one."""
    service: UserService = Users(allowance_usd=5)
    assert isinstance(service, UserService)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"allowance_usd": -1}, "allowance_usd"),
        ({"allowance_usd": "much"}, "allowance_usd"),
        ({"allowance_usd": 1.0}, "allowance_usd"),
        ({"allowance_usd": 5, "minimum_remaining": -0.5}, "minimum_remaining"),
        ({"allowance_usd": 5, "minimum_remaining": 1e-10}, "minimum_remaining"),
        ({"allowance_usd": 5, "period": "year"}, "period"),
        ({"allowance_usd": 5, "timezone": "Europe/Nowhere"}, "timezone"),
        ({"allowance_usd": 5, "timezone": 7}, "timezone"),
        ({"allowance_usd": 5, "period": "total", "rolling": True}, "rolling"),
    ],
)
def test_a_service_that_cannot_work_is_refused(fields: dict[str, Any], param: str) -> None:
    """The error names the argument."""
    with pytest.raises(errors.InputError, match=param) as caught:
        Users(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("user_id", "info", "param"),
    [
        ("", None, "user_id"),
        (7, None, "user_id"),
        ("\ud800", None, "user_id"),
        ("u", {"name": 7}, "basic_info.name"),
        ("u", {"email": b"a"}, "basic_info.email"),
    ],
)
async def test_a_user_who_cannot_be_kept_is_refused(
    line: Trunkline, user_id: Any, info: Any, param: str
) -> None:
    """The error names the field; nobody is added."""
    users = Users(line, allowance_usd=5)
    with pytest.raises(errors.InputError) as caught:
        await users.require_allowance(user_id, info)
    assert caught.value.param == param
    assert await users.find("u") is None


async def test_a_float_is_the_decimal_that_it_is_written_as(line: Trunkline) -> None:
    """0.1 three times is 0.3, to the nano-dollar; at exactly the minimum nobody may call."""
    users = Users(line, allowance_usd=0.5, minimum_remaining=0.2)
    for _ in range(3):
        await users.require_allowance("u")
        await users.add_usage("u", 0.1)
    assert await users.left_nusd("u") == 200_000_000
    with pytest.raises(errors.BudgetExhausted, match=r"0\.20 of 0\.50 USD left"):
        await users.require_allowance("u")


async def test_a_known_user_needs_no_database(
    manual: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a second after it was asked; not even a thread is asked then."""
    users = Users(manual, allowance_usd=5)
    await users.require_allowance("u", {"name": "Ada"})
    with monkeypatch.context() as without:
        without.setattr("trunkline.llm_service.users.UserTable", None)
        without.setattr(asyncio, "to_thread", None)
        await users.require_allowance("u", {"name": "Ada"})
        await users.add_usage("u", 1.0)
        assert await users.left_nusd("u") == 4 * USD


async def test_a_database_that_is_away_lets_nobody_new_in(line: Trunkline, tmp_path: Path) -> None:
    """The error says so; when it is back, so is the user's first call."""
    users = Users(line, allowance_usd=5)
    path = line.config.data_dir / "trunkline.db"
    path.mkdir(parents=True)
    with pytest.raises(errors.RecordError):
        await users.require_allowance("u")
    path.rmdir()
    await users.require_allowance("u")


async def test_only_set_allowance_changes_one(line: Trunkline) -> None:
    """At once, for good, and for that user only."""
    users = Users(line, allowance_usd=5)
    await users.add_usage("u", 4.5)
    await users.add_usage("v", 4.5)
    await users.set_allowance("u", 50)
    await users.require_allowance("u")
    assert await users.left_nusd("u") == 45_500_000_000
    with pytest.raises(errors.BudgetExhausted):
        await users.require_allowance("v")
    async with Trunkline(line.config) as later:
        line.flush()
        assert await Users(later, allowance_usd=5).left_nusd("u") == 45_500_000_000


async def test_allowances_set_at_once_end_as_they_are_stored(line: Trunkline) -> None:
    """Whichever change is the last one in the records is the last one in the ledger too."""
    users = Users(line, allowance_usd=5)
    await users.require_allowance("u")
    await asyncio.gather(*(users.set_allowance("u", usd) for usd in range(10, 40)))
    user = await users.find("u")
    assert user is not None
    assert await users.left_nusd("u") == user.allowance_nusd >= 10 * USD


@pytest.mark.parametrize(("user_id", "usd"), [("nobody", 5), ("u", 0.5), ("u", -5)])
async def test_an_allowance_that_cannot_be_set(line: Trunkline, user_id: str, usd: float) -> None:
    """Nobody's, or one with which nobody could call; the old one stays."""
    users = Users(line, allowance_usd=5)
    await users.require_allowance("u")
    with pytest.raises(errors.InputError):
        await users.set_allowance(user_id, usd)
    assert await users.left_nusd("u") == 5 * USD


async def test_a_reload_keeps_allowances(line: Trunkline) -> None:
    """The configuration says nothing of them."""
    users = Users(line, allowance_usd=5)
    await users.add_usage("u", 3.0)
    line.reload(line.config)
    assert await users.left_nusd("u") == 2 * USD


async def test_a_call_through_another_line_is_charged_by_hand() -> None:
    """The ledger of the service does not see it, so `add_usage` is told, once."""
    async with FakeUpstream() as up:
        up.on(lambda request: Json(chat_answer("ok", usage=chat_usage(400, 600))))
        with tempfile.TemporaryDirectory() as data:
            async with Trunkline(config(up.url)) as line, Trunkline(config(up.url, data)) as other:
                users = Users(line, allowance_usd=5)
                for through in (line, other):
                    call = chat(HELLO, "m", principal=Principal(user_id="u"))
                    await ask(through, call, Allowance(users, "u", None))
                assert await users.left_nusd("u") == 3 * USD
                line.flush()
                assert line.store.settled("user:u", 0) == 2 * USD


async def test_without_a_line_it_is_the_default_one(line: Trunkline) -> None:
    """Whichever that is at the time."""
    users = Users(allowance_usd=5)
    try:
        llm_service.use(line)
        assert users.line is line
        await users.add_usage("u", 1.0)
        assert line.ledger.granted("u") is not None
    finally:
        llm_service.use(None)


async def act(users: Users, up: FakeUpstream, step: tuple[str, int, int]) -> int:
    """Do one thing a user does; return the nano-USD of what went past the line."""
    how, tokens, most = step
    if how == "outside":
        await users.add_usage("u", tokens / 1000)
        return tokens * 1_000_000
    usage = chat_usage(10, tokens)
    up.script(
        {
            "fail": Status(500, {"error": {"message": "no"}}),
            "whole": Json(chat_answer("ok", usage=usage)),
        }.get(how, Sse(chat_chunks("a b c d e f", usage=usage)))
    )
    call = chat(HELLO, "m", {"max_tokens": most}, principal=Principal(user_id="u"))
    streamed = how in {"stream", "leave"}
    with contextlib.suppress(errors.TrunklineError):
        async with aclosing(
            follow(users.line, call, Allowance(users, "u", None), stream=streamed)
        ) as frames:
            async for _ in frames:
                if how == "leave":
                    break
    return 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["whole", "stream", "leave", "fail", "outside"]),
        st.integers(0, 900),
        st.integers(1, 300),
    ),
    min_size=1,
    max_size=8,
)


@examples.few()
@given(steps=STEPS, together=st.booleans())
def test_what_is_spent_is_what_the_rows_say(
    steps: list[tuple[str, int, int]], together: bool
) -> None:
    """Whatever a user does, one by one or all at once, the allowance and the rows agree.

    It is exceeded by no more than single attempts cost above their hold, and what went past us.
    """

    async def scenario(data: str) -> None:
        async with FakeUpstream() as up, Trunkline(config(up.url, data)) as line:
            users = Users(line, allowance_usd=2, minimum_remaining=0.5)
            if together:
                outside = sum(await asyncio.gather(*(act(users, up, step) for step in steps)))
            else:
                outside = sum([await act(users, up, step) for step in steps])
            left_nusd = await users.left_nusd("u")
            account = line.ledger.granted("u")
            assert account is not None
            assert account.held_nusd == 0
            line.flush()
            rows = line.store.calls(100)
            spent_nusd = sum(attempt.cost.nusd or 0 for row in rows for attempt in row.attempts)
            assert 2 * USD - left_nusd == spent_nusd == line.store.settled("user:u", 0)
            assert spent_nusd <= 2 * USD + account.overrun_nusd + outside

    with tempfile.TemporaryDirectory() as data:
        asyncio.run(scenario(data))
