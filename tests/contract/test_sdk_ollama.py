"""What Ollama's own client sends for a request is what we send for the same one, field by field.

We say three things more: the ids of calls, for servers that know them, `content` where it is empty,
and `truncate`, which the client has no name for.
"""

import json
from typing import Any

import ollama
import pytest

from trunkline.clock import SystemClock
from trunkline.testing import FakeUpstream
from trunkline.transport import Transport
from trunkline.types import (
    Chat,
    Deployment,
    Image,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
}
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Look", "images": ["YWJj"]},
    {"role": "assistant", "thinking": "hm", "tool_calls": [CALL]},
    {"role": "tool", "content": "x", "tool_name": "f"},
]
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
PROMPT = Prompt(
    messages=(
        say("system", "Be brief."),
        Message(role="user", parts=(Text(text="Look"), Image(data="YWJj"))),
        Message(
            role="assistant",
            parts=(Thinking(text="hm"), ToolCall(id="c1", name="f", arguments='{"a":1}')),
        ),
        Message(role="tool", parts=(ToolResult(id="c1", parts=(Text(text="x"),)),)),
    ),
    tools=(Tool(name="f", description="d", parameters=SCHEMA),),
    reasoning=Reasoning(effort="low"),
    output_format=OutputFormat(schema=SCHEMA),
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    max_output_tokens=9,
    stop=("x",),
    seed=1,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    extra={"keep_alive": "1h", "num_ctx": 9000},
)
OPTIONS = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "num_predict": 9,
    "stop": ["x"],
    "seed": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "num_ctx": 9000,
}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_request(stream: bool) -> None:
    """Path, kind of body and body."""
    async with FakeUpstream() as up:
        client: Any = ollama.AsyncClient(up.url)
        answer = await client.chat(
            model="gpt-oss",
            messages=MESSAGES,
            tools=[{"type": "function", "function": FUNCTION}],
            stream=stream,
            think="low",
            format=SCHEMA,
            options=OPTIONS,
            keep_alive="1h",
        )
        said = [piece async for piece in answer] if stream else [answer]
        assert "".join(piece.message.content for piece in said) == "Hello."  # and so is the double
        row = Deployment(provider="o", model="gpt-oss", dialect="ollama", base_url=f"{up.url}/v1")
        chat = Chat(model="gpt-oss", stream=stream, target=row, body=PROMPT)
        transport = Transport(SystemClock())
        assert (await (await transport.send(chat)).message()).text == "Hello."
        await transport.close()
        await client.close()
    theirs, ours = up.requests
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert plain(ours.json()) == plain(theirs.json())


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only we say."""
    body = json.loads(json.dumps(body))
    assert body.pop("truncate", False) is False
    for message in body["messages"]:
        message.pop("tool_call_id", None)
        if not message.get("content"):
            message.pop("content", None)
        for call in message.get("tool_calls", ()):
            call.pop("id", None)
    return body
