"""To Ollama and back: what is said in another dialect is said to Ollama, and its answers are heard.

Nobody calls us in Ollama's dialect, so its requests are read here by plain JSON. What is lost is
named here, once: names of messages and empty words; the order of words, pictures and calls within a
message; signatures, and thoughts nobody can read; whether a result is an error; a refusal becomes
words, free text for a custom tool a field of an object. What has no form (sound, files, pictures by
address) is refused.
"""

import json
from collections import Counter
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given, settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_ollama as ollama
from tests.contract import test_recordings_openai_chat as gpt
from tests.contract.test_translation import arguments, prompts
from tests.contract.test_translation_gemini import CHAT, plain, streamed
from trunkline.dialects import load
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    AnyPart,
    Audio,
    Chat,
    Cost,
    Deployment,
    File,
    Image,
    Memo,
    Message,
    Prompt,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Wire,
    say,
)

Json = dict[str, Any]
Said = tuple[Any, ...]
ROW = Deployment(provider="p", model="qwen3", dialect="ollama", base_url="http://x.test")


def takeable(part: AnyPart) -> bool:
    """Whether a part has a form in Ollama's dialect."""
    if isinstance(part, Image):
        return part.data is not None
    if isinstance(part, Audio):
        return bool(part.transcript)
    return not isinstance(part, File)


def fitting(prompt: Prompt) -> Prompt:
    """Leave out what has no form."""
    return Prompt(
        messages=tuple(
            Message(role=one.role, parts=tuple(part for part in one.parts if takeable(part)))
            for one in (*prompt.messages, say("user", "go on"))
        )
    )


def essence(prompt: Prompt) -> list[Said]:
    """Return what each message says: each result of a tool is one, and none says nothing."""
    names = {call.id: call.name for one in prompt.messages for call in one.tool_calls}
    found: list[Said] = []
    for message in prompt.messages:
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        for part in message.parts:
            if isinstance(part, ToolResult):
                words, pictures, *_ = said(part.parts, "\n\n")
                found.append(("tool", part.id, names.get(part.id), words, pictures))
        apart = "" if message.role == "assistant" else "\n\n"
        if any(things := said(rest, apart)):
            role = "system" if message.role == "developer" else message.role
            found.append((role, *things))
    return found


def said(parts: list[Any] | tuple[Any, ...], apart: str) -> Said:
    """Return words, pictures, thoughts and calls."""
    texts = [p.transcript if isinstance(p, Audio) else getattr(p, "text", "") for p in parts]
    spoken = [
        text for p, text in zip(parts, texts, strict=True) if isinstance(p, Text | Refusal | Audio)
    ]
    return (
        apart.join(filter(None, spoken)),
        [part.data for part in parts if isinstance(part, Image)],
        "".join(part.text for part in parts if isinstance(part, Thinking)),
        [(p.id, p.name, arguments(p.arguments)) for p in parts if isinstance(p, ToolCall)],
    )


def heard(body: Json) -> list[Said]:
    """Read a request as Ollama does."""
    found: list[Said] = []
    for one in body["messages"]:
        things = one["content"], one.get("images", [])
        if one["role"] == "tool":
            found.append(("tool", one["tool_call_id"], one.get("tool_name"), *things))
            continue
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in one.get("tool_calls", ())
        ]
        found.append((one["role"], *things, one.get("thinking", ""), calls))
    return found


def sent(body: Prompt | Wire) -> Json:
    """Encode a request for Ollama."""
    wire: Json = json.loads(load("ollama").encode(Chat(model="m", body=body), ROW).body)
    return wire


@settings(max_examples=300)
@given(prompts)
def test_a_typed_prompt_is_said_whole_or_refused(prompt: Prompt) -> None:
    """Words, pictures, thoughts, calls and results arrive; nothing is left out in silence."""
    kept = fitting(prompt)
    assert heard(sent(kept)) == essence(kept)
    if not all(map(takeable, prompt.parts())):
        with pytest.raises(CapabilityMissing):
            sent(prompt)


@pytest.mark.parametrize("spoken", ["openai_chat", "anthropic"])
@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_requests_of_others_are_said_whole(spoken: str) -> None:
    """Every recorded request, from the caller's bytes to Ollama's."""
    dialect, counts = load(spoken), Counter[str]()
    own = gpt if spoken == "openai_chat" else claude
    for provider in own.ANSWERS if spoken == "openai_chat" else ("anthropic",):
        for record in own.records(provider):
            try:
                wire = dialect.read(json.dumps(record["request"]).encode()).body
                assert isinstance(wire, Wire)
                prompt = wire.prompt
            except InputError:
                continue  # refused for its own sake, or not recorded
            try:
                body = sent(wire)
            except CapabilityMissing:
                assert not all(map(takeable, prompt.parts())), record["id"]
                counts["refused"] += 1
                continue
            assert heard(body) == essence(prompt), record["id"]
            counts["said"] += 1
    print(f"recorded requests of {spoken}: {dict(counts)}")
    assert counts["said"] >= (1000 if spoken == "openai_chat" else 300)


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_answers_reach_clients_of_other_dialects() -> None:
    """Whole and streamed: words, thoughts, calls, why it ended and usage, valid by their SDKs."""
    counts = Counter[str]()
    for id_, body in ollama.answers():
        frames = ollama.frames_of(body, lambda body: [body])
        before = plain(frames)
        for spoken in ("openai_chat", "anthropic"):
            dialect = load(spoken)
            writer = dialect.write(CHAT, "ollama")
            stream = b"".join(writer.frame(one) for one in frames) + writer.end(Cost(0))
            whole = dialect.write(CHAT, "ollama").whole(frames, Cost(0))
            if spoken == "anthropic":
                SdkMessage.model_validate_json(whole)
            else:
                ChatCompletion.model_validate_json(whole)
                for data in claude.data_lines(stream):
                    ChatCompletionChunk.model_validate_json(data)
            assert plain([dialect.decode(whole, Memo())]) == before, (spoken, id_)
            assert plain(streamed(spoken, stream)) == before, (spoken, id_)
            counts[spoken] += 1
    print(dict(counts))
    assert min(counts.values()) >= ollama.WHOLE + ollama.STREAMED
