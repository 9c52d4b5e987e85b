"""What Cohere's own SDK sends for a request is what we send for the same one, field by field."""

from typing import Any

import cohere
import pytest
from msgspec.structs import replace

from trunkline.clock import SystemClock
from trunkline.config import from_mapping
from trunkline.testing import FakeUpstream, Json, Request, Sse
from trunkline.transport import Transport
from trunkline.types import (
    Chat,
    Deployment,
    Embed,
    Image,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Text,
    Texts,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

KEY = "test-key-0123456789"
MODEL = "command-a-reasoning-08-2025"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
}
PICTURE = "data:image/png;base64,YWJj"
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": PICTURE}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}],
            "tool_plan": "I will look.",
            "tool_calls": [CALL],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "REQUIRED",
    "strict_tools": True,
    "thinking": {"type": "enabled", "token_budget": 100},
    "max_tokens": 9,
    "temperature": 0.5,
    "p": 0.9,
    "k": 3,
    "stop_sequences": ["x"],
    "seed": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "safety_mode": "OFF",
}
PROMPT = Prompt(
    messages=(
        say("system", "Be brief."),
        Message(role="user", parts=(Text(text="Look"), Image(data="YWJj", media_type="image/png"))),
        Message(
            role="assistant",
            parts=(
                Thinking(text="hm"),
                Thinking(text="I will look.", spelling="tool_plan"),
                ToolCall(id="c1", name="f", arguments='{"a": 1}'),
            ),
        ),
        Message(role="tool", parts=(ToolResult(id="c1", parts=(Text(text="x"),)),)),
    ),
    tools=(Tool(name="f", description="d", parameters=SCHEMA, strict=True),),
    tool_choice="required",
    reasoning=Reasoning(budget_tokens=100),
    max_output_tokens=9,
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    stop=("x",),
    seed=1,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    extra={"safety_mode": "OFF"},
)
JSON_ASKED = {
    "model": MODEL,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    "response_format": {"type": "json_object", "json_schema": SCHEMA},
    "thinking": {"type": "disabled"},
}
JSON = Prompt(
    messages=(say("user", "Hi"),),
    output_format=OutputFormat(schema=SCHEMA),
    reasoning=Reasoning(effort="none"),
)
WORDS = {"type": "text", "text": "Hello."}
ENDED = {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 10, "output_tokens": 5}}}
WHOLE = {"id": "c1", "message": {"role": "assistant", "content": [WORDS]}, **ENDED}
EVENTS: list[dict[str, Any]] = [
    {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": WORDS | {"text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello."}}}},
    {"type": "content-end", "index": 0},
    {"type": "message-end", "id": "c1", "delta": ENDED},
]


def deployment(url: str, model: str) -> Deployment:
    """Return the row that a configuration makes."""
    entry = {"api_key": KEY, "base_url": url}
    data = {"llm_service": {"providers": {"cohere": entry}}}
    return from_mapping(data, {}).providers["cohere"].deployment(model)


def same(ours: Request, theirs: Request) -> None:
    """Compare all that says what is asked, and of whom."""
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    for name in ("authorization", "content-type"):
        assert ours.headers[name] == theirs.headers[name]
    assert ours.json() == theirs.json()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("asked", "prompt"), [(ASKED, PROMPT), (JSON_ASKED, JSON)], ids=["tools", "json"]
)
async def test_the_same_request(asked: dict[str, Any], prompt: Prompt, stream: bool) -> None:
    """Method, path, credential and body; the SDK reads the double's answer as we do."""
    answer = Sse(EVENTS) if stream else Json(WHOLE)
    transport = Transport(SystemClock())
    async with (
        FakeUpstream(lambda _: answer) as up,
        cohere.AsyncClientV2(api_key=KEY, base_url=up.url) as client,
    ):
        if stream:
            pieces = [
                e.delta.message.content.text or ""
                async for e in client.chat_stream(**asked)
                if e.type == "content-delta"
            ]
        else:
            pieces = [(await client.chat(**asked)).message.content[0].text]
        assert "".join(pieces) == "Hello."
        row = deployment(up.url, MODEL)
        chat = Chat(model=MODEL, stream=stream, target=row, body=prompt)
        async with await transport.send(chat) as reply:
            assert (await reply.message()).text == "Hello."
        await transport.close()
        theirs, ours = up.requests
    same(ours, theirs)


async def test_the_same_embeddings() -> None:
    """With the purpose and the number of dimensions."""
    answer = Json({"id": "e", "texts": ["a"], "embeddings": {"float": [[0.5]]}, "meta": {}})
    transport = Transport(SystemClock())
    async with (
        FakeUpstream(lambda _: answer) as up,
        cohere.AsyncClientV2(api_key=KEY, base_url=up.url) as client,
    ):
        told = await client.embed(
            model="embed-v4.0",
            texts=["a"],
            input_type="search_query",
            embedding_types=["float"],
            output_dimension=256,
            truncate="NONE",
        )
        assert told.embeddings.float_ == [[0.5]]
        row = replace(deployment(up.url, "embed-v4.0"), dialect="cohere_embeddings")
        body = Texts(dialect="", fields={}, inputs=("a",), size_bytes=3, dimensions=256)
        call = Embed(model="m", target=row, body=replace(body, purpose="query"))
        async with await transport.send(call) as reply:
            await reply.message()
        await transport.close()
        theirs, ours = up.requests
    same(ours, theirs)
