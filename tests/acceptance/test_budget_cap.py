"""A budget with `cap_output` shortens answers to what it can pay, in every dialect."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, call_llm
from trunkline.errors import BudgetExhausted, BudgetHeld
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Request,
    Sse,
    chat_answer,
    chat_chunks,
    chat_usage,
    message_answer,
    message_events,
)

MODELS = pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-6"])
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
PRICE = {"input": "0", "output": "1"}
"""USD for a million tokens: a token of an answer costs a thousand nano-dollars."""
TOKEN_NUSD = 1000
PROMPT_TOKENS = 10


def answer(request: Request) -> Answer:
    """Say as much as the cap allows, as a provider that has a lot to tell."""
    asked = request.json()
    tokens = asked.get("max_completion_tokens") or asked["max_tokens"]
    if request.path.endswith("/messages"):
        if asked.get("stream"):
            events = message_events(output_tokens=tokens)
            return Sse([event.replace(b"end_turn", b"max_tokens") for event in events], done=False)
        usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": tokens}
        return Json(message_answer(stop_reason="max_tokens", usage=usage))
    told = chat_usage(PROMPT_TOKENS, tokens)
    if asked.get("stream"):
        return Sse(chat_chunks(finish="length", usage=told))
    return Json(chat_answer(finish="length", usage=told))


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose providers' budgets buy a hundred tokens each."""
    up.on(answer)
    claude = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    rule = {"amount": "0.0001", "period": "total", "cap_output": True}
    return make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, models=[{"name": "gpt-4o", "price": PRICE}]),
            "anthropic": {**claude, "models": [{"name": "claude-sonnet-4-6", "price": PRICE}]},
        },
        budgets=[{"scope": f"provider:{name}", **rule} for name in ("openai", "anthropic")],
    )


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(line) as address:
        yield address


def check(line: Trunkline, up: FakeUpstream, model: str) -> dict[str, Any]:
    """Demand that all the money went into one answer; return what the provider was sent."""
    line.flush()
    (row,) = line.store.calls()
    assert (row.call.outcome, row.call.finish) == ("complete", "length")
    assert (row.call.cost_nusd, row.call.cost_state) == (100 * TOKEN_NUSD, "exact")
    assert [word.partition("/")[2] for word in row.call.route] == [
        f"{model}: output_capped 100",
        f"{model}: answered",
    ]
    (account,) = (each for each in line.ledger.accounts() if each.settled_nusd)
    assert (account.left_nusd, account.held_nusd, account.overrun_nusd) == (0, 0, 0)
    (request,) = up.requests
    sent: dict[str, Any] = request.json()
    return sent


@MODELS
@STREAMS
@pytest.mark.parametrize("own", ["max_tokens", "max_completion_tokens", None])
async def test_openai_sdk(
    line: Trunkline, url: str, up: FakeUpstream, model: str, stream: bool, own: str | None
) -> None:
    """The caller sees `length`; the provider was sent the cap under the name the caller used."""
    cap: Any = {own: 3000} if own else {}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client:
        create = client.chat.completions.create
        made: Any = await create(model=model, messages=HELLO, stream=stream, **cap)
        told = [chunk async for chunk in made] if stream else [made]
    reasons = [choice.finish_reason for each in told for choice in each.choices]
    assert [reason for reason in reasons if reason] == ["length"]
    sent = check(line, up, model)
    name = own if own and model == "gpt-4o" else "max_tokens"
    assert {key: value for key, value in sent.items() if key.startswith("max_")} == {name: 100}


@MODELS
@STREAMS
async def test_anthropic_sdk(
    line: Trunkline, url: str, up: FakeUpstream, model: str, stream: bool
) -> None:
    """The caller sees `max_tokens`."""
    made = anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0)
    fields: Any = {"model": model, "messages": HELLO, "max_tokens": 3000}
    async with made as client:
        if stream:
            async with client.messages.stream(**fields) as events:
                told = await events.get_final_message()
        else:
            told = await client.messages.create(**fields)
    assert told.stop_reason == "max_tokens"
    assert told.usage.output_tokens == 100
    assert check(line, up, model)["max_tokens"] == 100


@pytest.mark.parametrize(
    ("path", "model"), [("chat/completions", "gpt-4o"), ("messages", "claude-sonnet-4-6")]
)
async def test_only_the_cap_changes(
    line: Trunkline, url: str, up: FakeUpstream, path: str, model: str
) -> None:
    """What is relayed keeps every other byte, unknown fields and odd numbers too."""
    odd = '"messages":[{"role":"user","content":"H\\u00ef" }],"x_odd":{ "a":1.50,"b":[ ]}'
    body = f'{{"model":"{model}",{odd},"max_tokens":3000,"top_p":0.10}}'
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
    async with httpx.AsyncClient() as client:
        got = await client.post(f"{url}/v1/{path}", content=body, headers=headers)
    assert got.status_code == 200
    (request,) = up.requests
    assert request.body.decode() == body.replace("3000", "100")


OWN_WORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemini": (
        "gemini-2.5-flash",
        {"generationConfig": {"maxOutputTokens": 60_000, "candidateCount": 8}},
    ),
    "bedrock": ("amazon.nova-pro-v1:0", {"inferenceConfig": {"maxTokens": 60_000}}),
    "ollama": ("qwen3", {"options": {"num_predict": 60_000}}),
}


@pytest.mark.parametrize("provider", OWN_WORDS)
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("cap", [{"max_tokens": 3000}, {}], ids=["both", "its own alone"])
async def test_the_providers_own_words_are_no_way_round(
    make_line: MakeLine, up: FakeUpstream, path: str, provider: str, cap: dict[str, int]
) -> None:
    """Where a dialect takes options of its provider from every caller, a cap is none of them."""
    up.script(Json({"error": {"message": "later"}}, status=500))
    model, own = OWN_WORDS[provider]
    at = {"base_url": up.url, "retries": 0, "models": [{"name": model, "price": PRICE}]}
    at |= {"bedrock": {"region": "us-east-1"}}.get(provider, {})
    line = make_line(
        default_provider=provider,
        providers={provider: {"api_key": "AIza-test-1234567890", **at}},
        budgets=[{"scope": "global", "amount": "0.0001", "period": "total", "cap_output": True}],
    )
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    body = {"model": model, "messages": HELLO, **cap, **own}
    async with running(line) as url, httpx.AsyncClient() as client:
        await client.post(f"{url}/v1/{path}", json=body, headers=headers)
    (request,) = up.requests
    (options,) = (request.json()[name] for name in own)
    assert list(options.values()) == [100]


async def test_thoughts_that_do_not_fit_are_refused(
    line: Trunkline, url: str, up: FakeUpstream
) -> None:
    """Anthropic would answer 400 to a cap below `budget_tokens`."""
    made = anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0)
    async with made as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(
                model="claude-sonnet-4-6",
                messages=HELLO,
                max_tokens=3000,
                thinking={"type": "enabled", "budget_tokens": 1024},
            )
    assert caught.value.status_code == 402
    assert up.requests == []


@pytest.mark.parametrize(("cap", "caps"), [(20, [20] * 5), (18, [18] * 5), (40, [20, 40, 40])])
async def test_many_at_once(line: Trunkline, up: FakeUpstream, cap: int, caps: list[int]) -> None:
    """Of twenty calls those that fit go out whole, and one more if an answer's worth is left."""
    up.on(lambda request: answer(request).late(0.2))

    async def one() -> None:
        with contextlib.suppress(BudgetExhausted, BudgetHeld):
            await call_llm("openai", "gpt-4o", HELLO, {"max_tokens": cap})

    await asyncio.gather(*(one() for _ in range(20)))
    sent = sorted(json.loads(request.body)["max_tokens"] for request in up.requests)
    assert sent == caps
    account = line.ledger.accounts()[0]
    assert (account.settled_nusd, account.held_nusd) == (sum(caps) * TOKEN_NUSD, 0)
