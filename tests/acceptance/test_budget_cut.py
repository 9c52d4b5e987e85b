"""An answer that its budget cannot pay to the end is ended properly, in the caller's dialect."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, call_llm, stream_llm
from trunkline.layers import meter
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    chat_answer,
    chat_chunks,
    chat_usage,
    message_events,
)

LONG = " ".join(["Once", "upon", "a", "x" * 16_000, *["time"] * 200])
"""Some 4,000 tokens are here after four words; the rest takes seconds."""
MODELS = pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-6"])
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine, monkeypatch: pytest.MonkeyPatch) -> Trunkline:
    """A line whose budgets are enough for a hold of 4,096 tokens and for little more."""
    monkeypatch.setattr(meter, "_LOOK_S", 0.05)
    claude = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    return make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, models=["gpt-4o"]),
            "anthropic": {**claude, "models": ["claude-sonnet-4-6"]},
        },
        budgets=[
            {"scope": "provider:openai", "amount": "0.042", "period": "total"},
            {"scope": "provider:anthropic", "amount": "0.0625", "period": "total"},
        ],
    )


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(line) as address:
        yield address


def script(up: FakeUpstream, model: str) -> None:
    """Have the provider tell a long story, slowly."""
    if model == "gpt-4o":
        up.script(Sse(chat_chunks(LONG), delay_s=0.02))
    else:
        up.script(Sse(message_events(LONG), done=False, delay_s=0.02))


async def check(line: Trunkline, up: FakeUpstream, model: str) -> None:
    """Demand that the provider was left at once, and that the row says what happened."""
    await up.wait_idle(timeout_s=1, closed=True)
    line.flush()
    (row,) = line.store.calls()
    assert (row.call.outcome, row.call.finish, row.call.error_code) == ("complete", "length", None)
    assert row.call.cost_state == "estimated"
    assert row.call.cost_nusd
    assert any(word.endswith(f"/{model}: budget_cut") for word in row.call.route)


@MODELS
async def test_openai_sdk(line: Trunkline, url: str, up: FakeUpstream, model: str) -> None:
    """OpenAI's client gets what came, `length`, our mark beside it, and the usage with its cost."""
    script(up, model)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=model,
            messages=HELLO,
            max_completion_tokens=50_000,
            stream=True,
            stream_options={"include_usage": True},
        )
        *told, last = [chunk async for chunk in stream]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in (*told, last)}) == 1
    choices = [choice for chunk in told for choice in chunk.choices]
    assert "".join(c.delta.content or "" for c in choices).startswith("Once upon a xxx")
    assert [c.delta.role for c in choices if c.delta.role] == ["assistant"]
    assert [c.finish_reason for c in choices if c.finish_reason] == ["length"]
    assert (choices[-1].model_extra or {})["native_finish_reason"] == "budget"
    assert (last.choices, last.usage is not None) == ([], True)
    assert last.usage is not None
    assert last.usage.completion_tokens > 3_000
    assert (last.usage.model_extra or {})["trunkline"]["cost_state"] == "estimated"
    await check(line, up, model)


@MODELS
async def test_anthropic_sdk(line: Trunkline, url: str, up: FakeUpstream, model: str) -> None:
    """Anthropic's client gets what came, `max_tokens`, and the usage."""
    script(up, model)
    made = anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0)
    async with (
        made as client,
        client.messages.stream(model=model, messages=HELLO, max_tokens=50_000) as stream,
    ):
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_message()
    [block] = answer.content
    assert block.type == "text"
    assert block.text.startswith("Once upon a xxx")
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens > 3_000
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_stop") == 1
    await check(line, up, model)


@MODELS
async def test_library(line: Trunkline, up: FakeUpstream, model: str) -> None:
    """A reader in this process gets what came, and a last chunk with the reason and the usage."""
    script(up, model)
    provider = "openai" if model == "gpt-4o" else "anthropic"
    parameters = {"max_tokens": 50_000}
    chunks = [chunk async for chunk in stream_llm(provider, model, HELLO, parameters)]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said.startswith("Once upon a xxx")
    assert chunks[-1].choices[0].finish_reason == "length"
    assert chunks[-1].usage["completion_tokens"] > 3_000
    await check(line, up, model)


async def test_a_whole_answer_is_not_cut(line: Trunkline, up: FakeUpstream) -> None:
    """It comes at once; what it cost beyond its hold is charged as an overrun."""
    up.script(Json(chat_answer(LONG, usage=chat_usage(10, 5_000))).late(0.2))
    text, _ = await call_llm("openai", "gpt-4o", HELLO, {"max_tokens": 50_000})
    assert text == LONG
    assert line.ledger.accounts()[0].overrun_nusd > 0
