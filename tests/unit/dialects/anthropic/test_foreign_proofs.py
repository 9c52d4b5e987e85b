"""Proofs of other providers: shown to the caller, understood when they return, never sent on."""

import json
from typing import Any

import pytest

from tests.unit.dialects.anthropic.wire import ROW
from trunkline.dialects.anthropic import encode, read, write
from trunkline.types import (
    Chat,
    Cost,
    Event,
    Finish,
    Frame,
    Message,
    Prompt,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    say,
)

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))
GOOGLES = {"extra_content": {"google": {"thought_signature": "c2ln+/=="}}}
EVENTS: tuple[Event, ...] = (
    ThinkingDelta(text="Hm.", spelling="openai_responses", block=0),
    ThinkingDelta(signature="fjN7:yB2", spelling="openai_responses", block=0),
    ToolCallDelta(index=0, id="a", name="f", extra=GOOGLES),
    ToolCallDelta(index=0, arguments='{"x":1}'),
    Finish(reason="tool_calls"),
)


def whole() -> list[dict[str, Any]]:
    """Spell the answer whole; return its blocks."""
    frames = [Frame(b"", 0, events=(event,)) for event in EVENTS]
    blocks: list[dict[str, Any]] = json.loads(write(CHAT, "another").whole(frames, Cost(1)))[
        "content"
    ]
    return blocks


def streamed() -> list[dict[str, Any]]:
    """Spell the answer as a stream; return its blocks as a client joins them."""
    writer = write(CHAT, "another")
    out = b"".join(writer.frame(Frame(b"", 0, events=(event,))) for event in EVENTS)
    blocks: list[dict[str, Any]] = []
    for data in (json.loads(line[6:]) for line in out.split(b"\n") if line[:5] == b"data:"):
        if data["type"] == "content_block_start":
            blocks.append(data["content_block"])
        elif data["type"] == "content_block_delta":
            delta = data["delta"]
            for name in ("thinking", "signature"):
                if name in delta:
                    blocks[-1][name] += delta[name]
            if "partial_json" in delta:
                blocks[-1]["input"] = json.loads(delta["partial_json"])
    return blocks


@pytest.mark.parametrize("spelled", [whole, streamed])
def test_they_come_back_as_they_were(spelled: Any) -> None:
    """A signature says whose it is; what stands beside a call stays there."""
    thought, call = spelled()
    assert thought["signature"] == "trunkline:openai_responses:fjN7:yB2"
    body = {"max_tokens": 9, "messages": [HI, {"role": "assistant", "content": [thought, call]}]}
    said = read(json.dumps(body).encode()).prompt.messages[1]
    assert said.parts == (
        Thinking(text="Hm.", signature="fjN7:yB2", spelling="openai_responses"),
        ToolCall(id="a", name="f", arguments='{"x":1}', extra=GOOGLES),
    )


def test_anthropic_is_not_sent_them() -> None:
    """It takes no proof but its own, and no field that it does not know; all else is relayed."""
    thought, call = whole()
    plain = {"type": "text", "text": 'say "extra_content" and "signature":"trunkline:x"'}
    messages = [HI, {"role": "assistant", "content": [thought, plain, call]}]
    body = json.dumps({"max_tokens": 9, "messages": messages}).encode()
    bare = {name: call[name] for name in ("type", "id", "name", "input")}
    for chat in (read(body), Chat(model="m", body=read(body).prompt)):
        sent = json.loads(encode(chat, ROW).body)
        assert sent["messages"][1]["content"] == [plain, bare]


@pytest.mark.parametrize("thought", [Thinking(signature="gAAAAAB"), Thinking(redacted="gAAAAAB")])
def test_openais_proof_is_known_by_itself(thought: Thinking) -> None:
    """Whatever dialect it travelled through, and whether it still says so."""
    messages = (say("user", "Hi"), Message(role="assistant", parts=(thought,)))
    sent = json.loads(encode(Chat(model="m", body=Prompt(messages=messages)), ROW).body)
    assert [message["role"] for message in sent["messages"]] == ["user"]
