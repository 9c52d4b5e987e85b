"""Provider `bedrock`, in its own dialect, through the faces and the gateway."""

import json
from email.utils import formatdate
from typing import Any

import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import (
    EventStream,
    FakeUpstream,
    Json,
    Status,
    converse_answer,
    converse_messages,
    event_message,
)

HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
QUESTION: Any = {"role": "user", "content": "Weather in Bern?"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
MODEL = "us.anthropic.claude-sonnet-4-6"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CALLED: list[dict[str, Any]] = [
    {"reasoningContent": {"reasoningText": {"text": "Bern.", "signature": "c2ln+/=="}}},
    {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Bern"}}},
]


def said(*blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an answer with these blocks."""
    return converse_answer(
        output={"message": {"role": "assistant", "content": list(blocks)}}, **fields
    )


def settings(up: FakeUpstream, **more: Any) -> dict[str, Any]:
    """Return the settings of a Bedrock at `up`."""
    return {"region": "eu-central-1", "base_url": up.url, "retries": 0, **more}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of AWS in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-session")


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose provider `bedrock` is the scripted one."""
    return make_line(default_provider="bedrock", providers={"bedrock": settings(up)})


async def ask(messages: list[Any], **more: Any) -> tuple[str, Any]:
    """Call Bedrock."""
    return await call_llm("bedrock", MODEL, messages, more.pop("parameters", {}), **more)


@pytest.mark.acceptance("G06", "G07", "G08", "A02")
async def test_a_call_in_its_own_dialect(line: Trunkline, up: FakeUpstream) -> None:
    """The model stands in the path, the signature in its header, the secret nowhere."""
    assert await ask(HELLO, parameters={"temperature": 0.5}) == ("Hello.", None)
    [request] = up.requests
    assert request.path == f"/model/{MODEL}/converse"
    signature = request.headers["authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/bedrock/aws4_request" in signature
    assert request.headers["x-amz-security-token"] == "token-of-the-session"
    assert SECRET not in str(request)
    assert request.json() == {
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"temperature": 0.5},
    }


SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS}}


async def test_who_knows_no_schema_is_passed_over(up: FakeUpstream, make_line: MakeLine) -> None:
    """Another deployment answers by it; where there is none, the call is refused."""
    llama = "meta.llama3-8b-instruct-v1:0"
    providers = {"bedrock": settings(up), "openai": openai_at(up, models=["gpt-4o"])}
    make_line(default_provider="bedrock", fallback_chain=["bedrock", "openai"], providers=providers)
    await call_llm("bedrock", llama, HELLO, {"response_format": SCHEMA})
    assert [request.path for request in up.requests] == ["/v1/chat/completions"]
    make_line(default_provider="bedrock", providers={"bedrock": settings(up)})
    with pytest.raises(errors.CapabilityMissing, match="JSON schema"):
        await call_llm("bedrock", llama, HELLO, {"response_format": SCHEMA})
    assert len(up.requests) == 1


async def test_a_caller_reads_no_bucket_with_our_keys(
    up: FakeUpstream, make_line: MakeLine
) -> None:
    """Only those that the operator lists."""
    picture = {"type": "image_url", "image_url": {"url": "s3://mine/a.png"}}
    asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": [picture]}]}
    for buckets in ([], ["mine"]):
        entry = settings(up, buckets=buckets)
        line = make_line(default_provider="bedrock", providers={"bedrock": entry})
        async with (
            running(line) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client,
        ):
            if buckets:
                await client.chat.completions.create(**asked)
                break
            with pytest.raises(openai.BadRequestError, match="list 'mine' in 'buckets'"):
                await client.chat.completions.create(**asked)
            assert up.requests == []
    [request] = up.requests
    assert "s3://mine/a.png" in str(request.json())


@pytest.mark.acceptance("A02")
async def test_a_key_is_enough(up: FakeUpstream, make_line: MakeLine) -> None:
    """A Bedrock API key goes up as it is, and nothing is signed."""
    entry = settings(up, api_key="bedrock-api-key-0123")
    make_line(default_provider="bedrock", providers={"bedrock": entry})
    await ask(HELLO)
    [request] = up.requests
    assert request.headers["authorization"] == "Bearer bedrock-api-key-0123"
    assert "x-amz-date" not in request.headers


@pytest.mark.acceptance("A02", "G10")
async def test_tools_over_several_turns(line: Trunkline, up: FakeUpstream) -> None:
    """Calls come back in OpenAI's form with thoughts; results and signatures return in place."""
    up.script(Json(said(*CALLED, stopReason="tool_use")))
    content, thoughts = await ask([QUESTION], tools=[TOOL])
    [call] = thoughts["tool_calls"]
    assert (content, thoughts["reasoning_content"]) == ("", "Bern.")
    assert json.loads(call["function"]["arguments"]) == {"city": "Bern"}
    thought = {"type": "reasoning.text", "text": "Bern.", "signature": "c2ln+/=="}  # the gateway's
    answered = {"role": "assistant", "tool_calls": [call], "reasoning_details": [thought]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Sun."}
    await ask([QUESTION, answered, result], tools=[TOOL])
    _, told, given = up.requests[1].json()["messages"]
    assert told["content"] == CALLED
    assert given["content"] == [
        {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "Sun."}]}}
    ]


async def test_a_stream(line: Trunkline, up: FakeUpstream) -> None:
    """Asked for as binary messages; the chunks are OpenAI's; one cut short is an error."""
    up.script(EventStream(converse_messages("Once upon a time.")))
    chunks = [c async for c in stream_llm("bedrock", MODEL, HELLO, {})]
    assert up.requests[0].path == f"/model/{MODEL}/converse-stream"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Once upon a time."
    assert [c.usage["total_tokens"] for c in chunks if c.usage][-1] == 15
    for cut in (converse_messages()[:2], [*converse_messages()[:2], converse_messages()[3][:-9]]):
        up.script(EventStream(cut))
        with pytest.raises(errors.Truncated):
            [c async for c in stream_llm("bedrock", MODEL, HELLO, {})]


async def test_an_exception_in_mid_stream(line: Trunkline, up: FakeUpstream) -> None:
    """As the documentation has it, nobody recorded one: the words so far, then the error."""
    raw = event_message("throttlingException", {"message": "Too fast"}, "exception")
    up.script(EventStream([*converse_messages("One two.")[:2], raw]))
    words: list[str | None] = []

    async def listen() -> None:
        async for chunk in stream_llm("bedrock", MODEL, HELLO, {}):
            words.append(chunk.choices[0].delta.content)

    with pytest.raises(errors.UpstreamRateLimited, match="Too fast"):
        await listen()
    assert "One " in words


@pytest.mark.acceptance("A02")
async def test_the_bill_is_bedrocks_arithmetic(line: Trunkline, up: FakeUpstream) -> None:
    """The cache stands outside the input; the region's own model has the region's own price."""
    usage = {
        "inputTokens": 100,
        "outputTokens": 10,
        "cacheReadInputTokens": 1000,
        "cacheWriteInputTokens": 500,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 300}],
        "totalTokens": 1610,
    }
    up.script(Json(converse_answer(usage=usage)))
    await ask(HELLO)
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.prompt_tokens, row.call.completion_tokens) == (1600, 10)
    # USD per million: 3.30 in, 0.33 read, 4.125 written for 5 minutes, 6.60 for an hour, 16.50 out.
    parts = (100 * 3_300, 1000 * 330, 300 * 4_125, 200 * 6_600, 10 * 16_500)
    assert row.call.cost_nusd == sum(parts)


async def test_a_wrong_clock_is_corrected_by_itself(up: FakeUpstream, make_line: MakeLine) -> None:
    """The refusal says how late it is there; the next try is signed for that time."""
    make_line(default_provider="bedrock", providers={"bedrock": settings(up, retries=1)})
    told = {
        "x-amzn-errortype": "InvalidSignatureException:http://internal.amazon.com/",
        "date": formatdate(2_000_000_000, usegmt=True),
    }
    late = "Signature expired: 20261120T000000Z is now earlier than 20330518T032820Z"
    up.script(Status(403, {"message": late}, told))
    assert await ask(HELLO) == ("Hello.", None)
    assert up.requests[1].headers["x-amz-date"].startswith("20330518T0333")


async def test_keys_that_ended_are_looked_for_again(
    line: Trunkline, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused session is an error that says nothing of the keys; the next call has new ones."""
    told = {"x-amzn-errortype": "ExpiredTokenException"}
    up.script(Status(403, {"message": "The token token-of-the-session is expired"}, told))
    with pytest.raises(errors.AuthFailed) as caught:
        await ask(HELLO)
    assert "token-of" not in str(caught.value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "new-token-of-the-session")
    await ask(HELLO)
    assert up.requests[1].headers["x-amz-security-token"] == "new-token-of-the-session"


@pytest.mark.acceptance("A02")
async def test_behind_the_gateway(line: Trunkline, up: FakeUpstream) -> None:
    """Both SDKs hear it, whole and as a stream, thoughts with their signatures."""
    up.script(Json(said(*CALLED, stopReason="tool_use")))
    async with running(line) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY) as client:
            asked: Any = {"model": f"bedrock/{MODEL}", "messages": [QUESTION], "tools": [TOOL]}
            whole = await client.chat.completions.create(**asked)
            async with client.chat.completions.stream(**asked) as pieces:
                told = await pieces.get_final_completion()
        assert whole.choices[0].finish_reason == "tool_calls"
        assert told.choices[0].message.content == "Hello."
        up.script(Json(said(*CALLED, stopReason="tool_use")))
        async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY) as speaker:
            message = await speaker.messages.create(
                model=f"bedrock/{MODEL}", max_tokens=100, messages=[QUESTION]
            )
        assert [block.type for block in message.content] == ["thinking", "tool_use"]
        assert getattr(message.content[0], "signature", None) == "c2ln+/=="
