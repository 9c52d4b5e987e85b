"""A conversation goes on with any provider: what one dialect answered, each other one is told.

The full matrix. Recorded answers that call tools (those that think first of all) of every dialect
reach a client of each surface, and the library; the client sends them back with the results of
the calls, and the next request goes to a provider of every dialect. It must be told the same
calls, results and words; and what proves a thought must be given back to whoever wrote it.
"""

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.contract import test_recordings_openai_responses as newer
from tests.contract.test_recordings_accounted import FAILS, RECORDINGS, Json
from tests.contract.test_recordings_over_a_socket import answers, frames_of
from trunkline.dialects import load
from trunkline.fold import Fold
from trunkline.types import (
    AnyPart,
    Chat,
    Cost,
    Deployment,
    Frame,
    Memo,
    Message,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Wire,
    say,
)

MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "cohere": "command-a-reasoning",
    "gemini": "gemini-3.5-flash",
    "ollama": "qwen3",
    "openai_chat": "gpt-4o",
    "openai_responses": "gpt-6",
}
"""Every dialect in which tools are called, and one of its models."""
CLIENTS = ("anthropic", "openai_chat", "openai_responses", "library")
PROVING = {"anthropic", "bedrock", "gemini", "openai_responses"}
"""Dialects whose providers sign thoughts and want them back."""
ALSO = {"anthropic": "bedrock", "bedrock": "anthropic"}
"""Claude proves its thoughts to both; a chat takes any proof, as OpenRouter does."""
SIGNED: Json = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln+/=="}}},
                {"text": "Two."},
                {"toolUse": {"toolUseId": "tooluse_a-B_1", "name": "f", "input": {"a": 1}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}
"""Written by us from Amazon's documentation: no recording of Bedrock thinks before it calls."""
MOST = 40
"""How many recordings of one dialect are taken."""
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))
Said = tuple[str, list[tuple[str, Any]], list[str]]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


def message_of(frames: list[Frame]) -> Message:
    """Put an answer together."""
    fold = Fold()
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
    return fold.message()


def proofs(parts: list[AnyPart] | tuple[AnyPart, ...]) -> list[Any]:
    """Return what proves the thoughts of an answer, wherever it stands."""
    found = [p.signature or p.redacted for p in parts if isinstance(p, Thinking)]
    found = [proof for proof in found if "encrypted_content_REDACTED" not in str(proof)]
    google = [part.extra.get("extra_content", {}).get("google", {}) for part in parts]
    return list(filter(None, [*found, *(one.get("thought_signature") for one in google)]))


@cache
def recorded(name: str) -> list[tuple[str, list[Frame], Message]]:
    """Return recorded answers of a dialect that call functions, thoughtful ones first."""
    found = []
    for dialect, record in answers():
        if dialect != name or record["id"] in {*FAILS, newer.SHORTENED}:
            continue
        frames = [frame for _, frame in frames_of(name, record)]
        message = message_of(frames)
        calls = message.tool_calls
        if calls and all(call.kind == "function" and is_object(call.arguments) for call in calls):
            found.append((record["id"], frames, message))
    if name == "bedrock":
        frame = load(name).decode(json.dumps(SIGNED).encode(), Memo())
        found.append(("written", [frame], message_of([frame])))
    found.sort(key=lambda one: -len(proofs(one[2].parts)))
    return found[:MOST]


def is_object(arguments: str) -> bool:
    """Whether arguments are whole, and neither cut nor free text."""
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


# --- what a client sends next ---------------------------------------------------------------------


def next_request(client: str, source: str, frames: list[Frame]) -> Prompt | Wire:
    """Return what a client asks after an answer: the results of its calls, and a last word."""
    if client == "library":
        message = message_of(frames)
        back = (
            Message(role="tool", parts=(ToolResult(id=call.id, parts=(Text(text=call.name),)),))
            for call in message.tool_calls
        )
        return Prompt(messages=(say("user", "Hi"), message, *back, say("user", "Go on.")))
    shown = json.loads(load(client).write(CHAT, source).whole(frames, Cost(7)))
    if client == "openai_chat":
        said = shown["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": call["function"]["name"]}
            for call in said["tool_calls"]
        ]
        asked: Json = {"messages": [user("Hi"), said, *results, user("Go on.")]}
    elif client == "anthropic":
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": block["name"]}
            for block in shown["content"]
            if block["type"] == "tool_use"
        ]
        said = {"role": "assistant", "content": shown["content"]}
        results.append({"type": "text", "text": "Go on."})
        messages = [user("Hi"), said, {"role": "user", "content": results}]
        asked = {"max_tokens": 9, "messages": messages}
    else:
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": item["name"]}
            for item in shown["output"]
            if item["type"] == "function_call"
        ]
        asked = {"input": [user("Hi"), *shown["output"], *results, user("Go on.")]}
    wire = load(client).read(json.dumps({"model": "m", **asked}).encode()).body
    assert isinstance(wire, Wire)
    return wire


def user(text: str) -> Json:
    """Return what a user says, in the words of all three surfaces."""
    return {"role": "user", "content": text}


# --- what a provider is told ----------------------------------------------------------------------


def told(name: str, body: bytes) -> Said:
    """Read a request as its provider does: the model's words, its calls, and their results.

    A result stands at the place of its call.
    """
    words, calls, results = READERS[name](body)
    assert results.keys() == {id_ for id_, _, _ in calls}
    in_order = [results[id_] for id_, _, _ in calls]
    return words, [(called, arguments) for _, called, arguments in calls], in_order


Told = tuple[str, list[tuple[str, str, Any]], dict[str, str]]


def by_reading(name: str, body: bytes) -> Told:
    """Read a dialect that callers speak too."""
    wire = load(name).read(body).body
    parts = [(m.role, part) for m in wire.prompt.messages for part in m.parts]
    words = "".join(p.text for role, p in parts if role == "assistant" and isinstance(p, Text))
    calls = [(p.id, p.name, json.loads(p.arguments)) for _, p in parts if isinstance(p, ToolCall)]
    results = [p for _, p in parts if isinstance(p, ToolResult)]
    return words, calls, {p.id: spoken_in(p) for p in results}


def spoken_in(result: ToolResult) -> str:
    """Return the words of a result."""
    return "".join(part.text for part in result.parts if isinstance(part, Text))


def by_bedrock(body: bytes) -> Told:
    """Read Converse."""
    blocks = [(m["role"], b) for m in json.loads(body)["messages"] for b in m["content"]]
    uses = [b["toolUse"] for _, b in blocks if "toolUse" in b]
    results = [b["toolResult"] for _, b in blocks if "toolResult" in b]
    return (
        "".join(block.get("text", "") for role, block in blocks if role == "assistant"),
        [(use["toolUseId"], use["name"], use["input"]) for use in uses],
        {one["toolUseId"]: one["content"][0]["text"] for one in results},
    )


def by_gemini(body: bytes) -> Told:
    """Read Gemini, whose results are objects."""
    parts = [(c["role"], part) for c in json.loads(body)["contents"] for part in c["parts"]]
    spoken = [p for role, p in parts if role == "model" and not p.get("thought")]
    calls = [p["functionCall"] for _, p in parts if "functionCall" in p]
    results = [p["functionResponse"] for _, p in parts if "functionResponse" in p]
    return (
        "".join(part.get("text", "") for part in spoken),
        [(call["id"], call["name"], call["args"]) for call in calls],
        {one["id"]: one["response"]["output"] for one in results},
    )


def by_messages(body: bytes) -> Told:
    """Read Ollama and Cohere, whose messages are much alike."""
    messages = json.loads(body)["messages"]
    said = [message for message in messages if message["role"] == "assistant"]
    calls = [
        (call["id"], call["function"]["name"], as_object(call["function"]["arguments"]))
        for message in said
        for call in message.get("tool_calls", ())
    ]
    results = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    return "".join(spoken(message.get("content", "")) for message in said), calls, results


def spoken(content: str | list[Json]) -> str:
    """Return the words of a message."""
    return content if isinstance(content, str) else "".join(b.get("text", "") for b in content)


def as_object(arguments: str | Json) -> Any:
    """Return arguments as the object they are."""
    return json.loads(arguments) if isinstance(arguments, str) else arguments


READERS: dict[str, Any] = {
    "anthropic": lambda body: by_reading("anthropic", body),
    "bedrock": by_bedrock,
    "cohere": by_messages,
    "gemini": by_gemini,
    "ollama": by_messages,
    "openai_chat": lambda body: by_reading("openai_chat", body),
    "openai_responses": lambda body: by_reading("openai_responses", body),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("source", MODELS)
def test_a_conversation_goes_on_anywhere(source: str, client: str) -> None:
    """Calls, results and words of each answer reach a provider of each dialect; proofs go home."""
    counts = Counter[str]()
    for id_, frames, message in recorded(source):
        body = next_request(client, source, frames)
        calls = [(call.name, json.loads(call.arguments)) for call in message.tool_calls]
        expected = (message.text.strip(), calls, [call.name for call in message.tool_calls])
        for target, model in MODELS.items():
            row = Deployment(provider="p", model=model, dialect=target, base_url="http://x.test")
            sent = load(target).encode(Chat(model="m", body=body), row).body
            words, called, results = told(target, sent)
            assert (words.strip(), called, results) == expected, (id_, target)
            for proof in proofs(message.parts):
                given = json.dumps(proof)[1:-1].encode() in sent
                if target == source:
                    assert given, (id_, proof)
                    counts["proofs"] += 1
                elif target not in {"openai_chat", ALSO.get(source)}:
                    assert not given, (id_, target, proof)
        counts["answers"] += 1
    print(f"{source} through {client}: {dict(counts)}")
    assert counts["answers"] >= 8
    assert bool(counts["proofs"]) == (source in PROVING)
