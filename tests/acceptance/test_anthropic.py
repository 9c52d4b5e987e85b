"""Provider `anthropic`, in its own dialect, through the faces."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import FakeUpstream, Json, Sse, Status, message_answer, message_events

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def claude(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose provider `anthropic` is the scripted one."""
    settings = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    return make_line(default_provider="anthropic", providers={"anthropic": settings})


async def ask(messages: list[dict[str, Any]], **more: Any) -> tuple[str, Any]:
    """Call Claude."""
    return await call_llm(
        "anthropic", "claude-sonnet-4-20250514", messages, more.pop("parameters", {}), **more
    )


@pytest.mark.acceptance("G08", "G24", "T06")
async def test_a_call_in_its_own_dialect(claude: Trunkline, up: FakeUpstream) -> None:
    """The system prompt is hoisted, the key goes into its header, a cap is always sent."""
    assert await ask(HELLO) == ("Hello.", None)
    [request] = up.requests
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "sk-ant-test-123456"
    assert "anthropic-version" in request.headers
    body = request.json()
    assert "Be brief." in json.dumps(body["system"])
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert body["max_tokens"] > 0


@pytest.mark.acceptance("G24")
async def test_text_blocks_are_joined(claude: Trunkline, up: FakeUpstream) -> None:
    """Several text blocks are one content, without separators."""
    blocks = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]
    up.script(Json(message_answer(content=blocks)))
    assert (await ask(HELLO))[0] == "Hello."


@pytest.mark.acceptance("G22")
async def test_thinking_blocks_are_thoughts(claude: Trunkline, up: FakeUpstream) -> None:
    """Thinking and redacted thinking come back whole, with what proves them."""
    blocks = [
        {"type": "thinking", "thinking": "Six times seven.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "42"},
    ]
    up.script(Json(message_answer(content=blocks)))
    content, thoughts = await ask(HELLO)
    assert content == "42"
    assert thoughts["reasoning_content"] == "Six times seven."
    kept = [
        {name: block[name] for name in ("type", "thinking", "signature", "data") if name in block}
        for block in thoughts["blocks"]
    ]
    assert kept[0] == blocks[0]
    assert (kept[1]["type"], kept[1]["data"]) == ("redacted_thinking", "b3BhcXVl")


@pytest.mark.acceptance("T06", "G10")
async def test_tool_use_over_several_turns(claude: Trunkline, up: FakeUpstream) -> None:
    """Tools go out in Anthropic's form; calls come back in OpenAI's; results return as blocks."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
    up.script(Json(message_answer(content=[use], stop_reason="tool_use")))
    content, thoughts = await ask([{"role": "user", "content": "Weather in Bern?"}], tools=[TOOL])
    [call] = thoughts["tool_calls"]
    assert content == ""
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Bern"}
    sent = up.requests[0].json()["tools"][0]
    assert sent["name"] == "weather"
    assert sent["input_schema"]["properties"] == {"city": {"type": "string"}}
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "Weather in Bern?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "Sun."},
    ]
    await ask(history, tools=[TOOL])
    _, answered, result = up.requests[1].json()["messages"]
    assert answered["content"][0]["type"] == "tool_use"
    assert result["role"] == "user"
    assert result["content"][0]["type"] == "tool_result"
    assert result["content"][0]["tool_use_id"] == "toolu_1"


async def test_a_stream(claude: Trunkline, up: FakeUpstream) -> None:
    """The chunks are OpenAI's, the usage counts the whole prompt."""
    up.script(Sse(message_events("Once upon a time.", output_tokens=7), done=False))
    chunks = [c async for c in stream_llm("anthropic", "claude-sonnet-4-20250514", HELLO, {})]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Once upon a time."
    assert [c.usage["total_tokens"] for c in chunks if c.usage][-1] == 17


async def test_the_bill_is_anthropics_arithmetic(claude: Trunkline, up: FakeUpstream) -> None:
    """Cache reads and writes come on top of input_tokens, each at its own price."""
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "output_tokens": 10,
    }
    up.script(Json(message_answer(usage=usage)))
    await ask(HELLO)
    claude.flush()
    [row] = claude.store.calls(1)
    assert row.call.prompt_tokens == 1300
    # USD per million: 3 in, 0.30 cache read, 3.75 cache write, 15 out.
    assert row.call.cost_nusd == 100 * 3000 + 1000 * 300 + 200 * 3750 + 10 * 15000


async def test_overload_in_mid_stream_is_an_error(claude: Trunkline, up: FakeUpstream) -> None:
    """`event: error` after the first words is never a success."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    broken = b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"
    up.script(Sse([*message_events()[:4], broken], done=False))
    with pytest.raises(errors.UpstreamOverloaded):
        await ask(HELLO)


async def test_529_is_overload(claude: Trunkline, up: FakeUpstream) -> None:
    """Anthropic's own status for it."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    up.script(Status(529, error))
    with pytest.raises(errors.UpstreamOverloaded):
        await ask(HELLO)


@pytest.mark.acceptance("T05")
def test_the_anthropic_package_is_not_needed() -> None:
    """With the package blocked from import a call through provider `anthropic` works."""
    with FakeUpstream.in_thread() as up:
        program = (
            "import sys; sys.modules['anthropic'] = None\n"
            "import asyncio, os\n"
            "from trunkline import call_llm\n"
            "hello = [{'role': 'user', 'content': 'hi'}]\n"
            "print(asyncio.run(call_llm('anthropic', 'claude-3-5-haiku-latest', hello, {}))[0])\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env={
                "ANTHROPIC_API_KEY": "sk-ant-123456",
                "ANTHROPIC_BASE_URL": f"{up.url}/v1",
                "TRUNKLINE_DATA": "data",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("Hello.\n", "")
        assert up.requests[0].path == "/v1/messages"
