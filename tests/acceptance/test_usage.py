"""Usage and cost, as they are recorded and summed."""

import asyncio
import json
import socket

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import call_llm, errors
from trunkline.testing import FakeUpstream, Json, Sse, chat_answer, chat_chunks, chat_usage
from trunkline.types import Chat, Prompt, say

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.mark.acceptance("A19")
async def test_usage_and_cost_across_providers(up: FakeUpstream, make_line: MakeLine) -> None:
    """Reports sum per provider; a local model costs exactly 0, not an unknown amount."""
    line = make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(
                up, models=[{"name": "gpt-4o", "price": {"input": 2.50, "output": 10.00}}]
            ),
            "ollama": {"base_url": up.url, "models": ["llama2"], "api": "chat"},
            "mystery": {**openai_at(up), "type": "openai_compatible", "models": ["m-1"]},
        },
    )
    up.on(lambda request: Json(chat_answer("ok", usage=chat_usage(1000, 200))))
    for provider, model in [("openai", "gpt-4o")] * 3 + [("ollama", "llama2"), ("mystery", "m-1")]:
        await call_llm(provider, model, HELLO, {})
    line.flush()
    rows = {row.value: row for row in line.store.usage("provider", None)}
    assert rows["openai"].cost_nusd == 3 * (1000 * 2_500 + 200 * 10_000)
    assert (rows["openai"].requests, rows["openai"].total_tokens) == (3, 3600)
    assert (rows["ollama"].cost_nusd, rows["ollama"].unknown_price_requests) == (0, 0)
    assert (rows["mystery"].cost_nusd, rows["mystery"].unknown_price_requests) == (0, 1)


async def test_a_providers_own_word_on_cost_is_taken(up: FakeUpstream, make_line: MakeLine) -> None:
    """Where the answer says what it cost and no price was configured, that is the cost."""
    line = make_line(
        default_provider="openrouter",
        providers={"openrouter": {**openai_at(up), "models": ["meta-llama/x"]}},
    )
    usage = chat_usage(10, 5, cost=0.00123)
    up.script(Json(chat_answer("ok", usage=usage)))
    await call_llm("openrouter", "meta-llama/x", HELLO, {})
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.cost_nusd, row.call.cost_state) == (1_230_000, "exact")


@pytest.mark.parametrize(
    ("served", "cost"),
    [
        ("default", (15_000, "exact")),
        ("flex", (7_500, "exact")),
        ("priority", (15_000, "estimated")),
    ],
)
async def test_the_served_tier_decides_the_cost(
    up: FakeUpstream, make_line: MakeLine, served: str, cost: tuple[int, str]
) -> None:
    """A tier without a known price is estimated at the standard one, and never free."""
    price = {"input": 1.0, "output": 1.0, "flex": {"input": 0.5, "output": 0.5}}
    line = make_line(
        default_provider="openai",
        providers={"openai": openai_at(up, models=[{"name": "gpt-4o", "price": price}])},
    )
    up.script(Json(chat_answer("ok", usage=chat_usage(10, 5)) | {"service_tier": served}))
    await call_llm("openai", "gpt-4o", HELLO, {})
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.cost_nusd, row.call.cost_state) == cost


@pytest.mark.parametrize("searches", [0, 2])
async def test_beside_a_search_without_a_price_tokens_are_charged(
    up: FakeUpstream, make_line: MakeLine, searches: int
) -> None:
    """A budget with `unknown_price: flag` lets it pass, but not for nothing, nor as exact."""
    price = {"input": 1.0, "output": 1.0}
    line = make_line(
        default_provider="openai",
        providers={"openai": openai_at(up, models=[{"name": "gpt-4o", "price": price}])},
        budgets=[{"scope": "user:u", "amount": 1, "period": "day", "unknown_price": "flag"}],
    )
    usage = chat_usage(10, 5) | {"server_tool_use": {"web_search_requests": searches}}
    up.script(Json(chat_answer("ok", usage=usage)))
    await call_llm("openai", "gpt-4o", HELLO, {"web_search_options": {}}, user_id="u")
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.cost_nusd, row.call.cost_state) == (15_000, "estimated")
    assert line.store.usage("user")[0].unknown_price_requests == 0
    assert line.ledger.accounts()[0].settled_nusd == 15_000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_budget_stops_the_next_call(
    up: FakeUpstream, make_line: MakeLine, stream: bool
) -> None:
    """Once the money is gone nothing more is sent; the refusal is a 402 with its own code."""
    line = make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(
                up, models=[{"name": "gpt-4o", "price": {"input": 1.0, "output": 1.0}}]
            )
        },
        budgets=[{"scope": "user:u", "amount": "0.002", "period": "day"}],
    )
    usage = chat_usage(1000, 1000)
    answer = Sse(chat_chunks("ok", usage=usage)) if stream else Json(chat_answer("ok", usage=usage))
    up.on(lambda request: answer)
    parameters = {"max_tokens": 1000}
    await call_llm("openai", "gpt-4o", HELLO, parameters, user_id="u")
    with pytest.raises(errors.BudgetExhausted) as caught:
        await call_llm("openai", "gpt-4o", HELLO, parameters, user_id="u")
    assert (caught.value.status, caught.value.code) == (402, "budget_exhausted")
    await call_llm("openai", "gpt-4o", HELLO, parameters, user_id="somebody else")
    assert len(up.requests) == 2
    [account] = line.ledger.accounts()
    assert (account.settled_nusd, account.held_nusd) == (2_000_000, 0)
    line.flush()
    outcomes = [(row.call.outcome, row.call.attempts) for row in line.store.calls(10)]
    assert sorted(outcomes) == [("complete", 1), ("complete", 1), ("failed", 0)]


@pytest.mark.parametrize("late", ["caller", "call", "attempt"])
async def test_who_gives_up_while_connecting_pays_nothing(make_line: MakeLine, late: str) -> None:
    """Cancelled or too late before there was a connection: nothing was sent, so it cost nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:  # never answers the TLS handshake
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/v1"
        settings = {"api_key": "sk-test-1234567890", "base_url": url, "retries": 0}
        timeout_s = 0.1 if late == "attempt" else 60
        line = make_line(providers={"openai": {**settings, "timeout": timeout_s}})
        call = Chat(
            model="gpt-4o",
            body=Prompt(messages=(say("user", "Hello!"),)),
            timeout_s=0.1 if late == "call" else None,
        )
        with pytest.raises((TimeoutError, errors.DeadlineExceeded, errors.AttemptTimeout)):
            await asyncio.wait_for(line(call), 0.1 if late == "caller" else None)
    line.flush()
    [row] = line.store.calls(1)
    assert [(a.cost.nusd, a.cost.state) for a in row.attempts] == [(0, "exact")]


async def test_the_end_user_is_recorded_and_does_not_pay(
    up: FakeUpstream, make_line: MakeLine
) -> None:
    """OpenAI's `user` goes upstream and into the call's row; who pays is the principal."""
    line = make_line(default_provider="openai", providers={"openai": openai_at(up)})
    await call_llm("openai", "gpt-4o", HELLO, {"user": "end-user-7"}, user_id="payer")
    assert up.requests[0].json()["user"] == "end-user-7"
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.end_user, row.call.user_id) == ("end-user-7", "payer")


async def test_a_budget_survives_a_restart(up: FakeUpstream, make_line: MakeLine) -> None:
    """A second line on the same data folder knows what the first one spent."""
    settings = {
        "default_provider": "openai",
        "providers": {
            "openai": openai_at(
                up, models=[{"name": "gpt-4o", "price": {"input": 1.0, "output": 1.0}}]
            )
        },
        "budgets": [{"scope": "global", "amount": 1, "period": "month"}],
    }
    make_line(**settings)
    await call_llm("openai", "gpt-4o", HELLO, {})
    second = make_line(**json.loads(json.dumps(settings)))
    await call_llm("openai", "gpt-4o", HELLO, {})
    [account] = second.ledger.accounts()
    assert account.settled_nusd == 2 * 15_000


async def test_a_report_that_cannot_be_true_empties_no_budget(
    up: FakeUpstream, make_line: MakeLine
) -> None:
    """A trillion tokens are not believed: the attempt is estimated from what was received."""
    line = make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(
                up, models=[{"name": "gpt-4o", "price": {"input": 1.0, "output": 1.0}}]
            )
        },
        budgets=[{"scope": "global", "amount": 1, "period": "day"}],
    )
    up.script(Json(chat_answer("ok", usage=chat_usage(10**12, 5))))
    await call_llm("openai", "gpt-4o", HELLO, {})
    await call_llm("openai", "gpt-4o", HELLO, {})
    line.flush()
    assert [row.call.cost_state for row in line.store.calls(5)] == ["exact", "estimated"]


async def test_an_alert_is_logged_once_per_mark(
    up: FakeUpstream, make_line: MakeLine, caplog: pytest.LogCaptureFixture
) -> None:
    """A soft budget refuses nothing; passing half and all of it is told once each."""
    line = make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(
                up, models=[{"name": "gpt-4o", "price": {"input": 1.0, "output": 1.0}}]
            )
        },
        budgets=[
            {
                "scope": "global",
                "amount": "0.004",
                "period": "day",
                "mode": "soft",
                "alert_at": [0.5],
            }
        ],
    )
    up.on(lambda request: Json(chat_answer("ok", usage=chat_usage(500, 500))))
    for _ in range(6):
        await call_llm("openai", "gpt-4o", HELLO, {})
    line.flush()
    alerts = [r.__dict__ for r in caplog.records if r.message == "LLM budget alert"]
    assert [alert["mark_nusd"] for alert in alerts] == [2_000_000, 4_000_000]
    assert alerts[0]["scope"] == "global"
    assert {"timezone", "rolling"}.isdisjoint(alerts[0])


@pytest.mark.parametrize("window", [{"timezone": "Europe/Berlin"}, {"rolling": True}])
async def test_an_alert_says_which_day_is_meant(
    up: FakeUpstream,
    make_line: MakeLine,
    caplog: pytest.LogCaptureFixture,
    window: dict[str, object],
) -> None:
    """Where it is not that of UTC."""
    priced = {"name": "gpt-4o", "price": {"input": 1, "output": 1}}
    rule = {"scope": "global", "amount": "0.001", "period": "day", "mode": "soft", **window}
    line = make_line(
        default_provider="openai",
        providers={"openai": openai_at(up, models=[priced])},
        budgets=[rule],
    )
    up.on(lambda request: Json(chat_answer("ok", usage=chat_usage(500, 500))))
    await call_llm("openai", "gpt-4o", HELLO, {})
    line.flush()
    [alert] = [r.__dict__ for r in caplog.records if r.message == "LLM budget alert"]
    assert {name: alert[name] for name in ("timezone", "rolling") if name in alert} == window
