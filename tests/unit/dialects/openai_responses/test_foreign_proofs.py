"""Google's proofs beside calls: shown to the caller, understood when they return, never sent on."""

import json
from typing import Any

from trunkline.dialects import load
from trunkline.types import (
    Chat,
    Cost,
    Deployment,
    Finish,
    Frame,
    Prompt,
    ToolCall,
    ToolCallDelta,
    say,
)

responses = load("openai_responses")
ROW = Deployment(
    provider="p", model="gpt-6", dialect="openai_responses", base_url="https://x.test/v1"
)
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))
GOOGLES = {"extra_content": {"google": {"thought_signature": "c2ln+/=="}}}
FRAMES = [
    Frame(b"", 0, events=(ToolCallDelta(index=0, id="a", name="f", extra=GOOGLES),)),
    Frame(b"", 0, events=(ToolCallDelta(index=0, arguments='{"x":1}'),)),
    Frame(b"", 0, events=(Finish(reason="tool_calls"),)),
]


def spelled() -> dict[str, Any]:
    """Return the item of a call that Gemini made; streamed and whole it is the same."""
    [item] = json.loads(responses.write(CHAT, "gemini").whole(FRAMES, Cost(1)))["output"]
    writer = responses.write(CHAT, "gemini")
    stream = b"".join(map(writer.frame, FRAMES)) + writer.end(Cost(1))
    last = json.loads(stream.rstrip().rpartition(b"data: ")[2])
    assert last["response"]["output"] == [item]
    made: dict[str, Any] = item
    return made


def test_they_come_back_as_they_were() -> None:
    """What stands beside a call stays there."""
    body = json.dumps({"model": "m", "input": [spelled()]}).encode()
    [call] = responses.read(body).prompt.messages[0].parts
    assert isinstance(call, ToolCall)
    assert call.extra["extra_content"] == GOOGLES["extra_content"]


def test_openai_is_not_sent_them() -> None:
    """It refuses fields that it does not know; words about them are no field."""
    item = spelled()
    words = {"role": "user", "content": 'say "extra_content"'}
    chat = responses.read(json.dumps({"model": "m", "input": [item, words]}).encode())
    del item["extra_content"]
    assert json.loads(responses.encode(chat, ROW).body)["input"] == [item, words]
    typed = Chat(model="m", body=chat.prompt)
    assert b"thought_signature" not in responses.encode(typed, ROW).body
