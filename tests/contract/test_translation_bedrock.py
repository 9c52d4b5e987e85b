"""To Bedrock and back: what is said in another dialect is said to Converse, and its answers heard.

Nobody calls us in Converse, so its requests are read here by plain JSON. What is lost is named
here, once: names of messages and blanks; thoughts that nobody signed; a refusal becomes words, ids
are written in the letters the API takes, free text for a custom tool becomes a field of an object,
a file keeps its bytes and a fitting name. Pictures on the web are refused: Bedrock fetches none.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given, settings
from msgspec.structs import replace
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_bedrock as bedrock
from tests.contract import test_recordings_openai_chat as gpt
from tests.contract.test_translation import arguments, prompts
from tests.contract.test_translation_gemini import plain, streamed
from trunkline.dialects import load
from trunkline.dialects.bedrock.spell import fit
from trunkline.errors import CapabilityMissing, InputError
from trunkline.fold import Fold
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
    Wire,
    say,
)

Json = dict[str, Any]
Turns = list[tuple[str, list[Any]]]
ROW = Deployment(
    provider="p",
    model="anthropic.claude-sonnet-4-5-20250929-v1:0",
    dialect="bedrock",
    base_url="http://x.test",
)
CHAT = Chat(
    id="01J",
    model="m",
    body=Prompt(messages=(say("user", "Hi"),), extra={"stream_options": {"include_usage": True}}),
)


# --- what a prompt says, and what a request of Converse says --------------------------------------


def essence(prompt: Prompt) -> tuple[list[Any], Turns]:
    """Return the system's words, and turns that alternate, results of tools first in each."""
    system: list[Any] = []
    turns: Turns = []
    for message in prompt.messages:
        items = [item for part in message.parts for item in said(part)]
        if message.role in {"system", "developer"}:
            system += items
        elif items:
            role = "assistant" if message.role == "assistant" else "user"
            if not turns or turns[-1][0] != role:
                turns.append((role, []))
            turns[-1][1].extend(items)
    for role, items in turns:
        if role == "user":
            items.sort(key=lambda item: item[0] != "result")
    if system and not turns:
        return [], [("user", system)]
    if turns and turns[-1][0] == "assistant" and turns[-1][1][-1][0] == "text":
        turns[-1][1][-1] = ("text", turns[-1][1][-1][1].rstrip())
    return system, turns


def said(part: AnyPart) -> Iterable[tuple[Any, ...]]:
    """Write down one part; what says nothing is left out."""
    if isinstance(part, Text | Refusal):
        if part.text.strip():
            yield "text", part.text
    elif isinstance(part, Thinking):
        if part.redacted is not None:
            yield "hidden", part.redacted
        elif part.signature is not None:
            yield "thought", part.text, part.signature
    elif isinstance(part, Image | File):
        yield "data", part.data
    elif isinstance(part, Audio):
        if part.data or part.transcript:
            yield ("data", part.data) if part.data else ("text", part.transcript)
    elif isinstance(part, ToolCall):
        yield "call", fit(part.id), part.name, arguments(part.arguments)
    else:
        inner = [item for one in part.parts for item in said(one)]
        yield "result", fit(part.id), inner, part.is_error


def heard(body: Json) -> tuple[list[Any], Turns]:
    """Read a request as Bedrock does, and find its rules kept."""
    system = [understood(block) for block in body.get("system", ()) if "cachePoint" not in block]
    turns = [
        (turn["role"], [understood(b) for b in turn["content"] if "cachePoint" not in b])
        for turn in body["messages"]
    ]
    assert all(one[0] != two[0] for one, two in pairwise(turns))
    kinds = {kind for turn in body["messages"] for block in turn["content"] for kind in block}
    if kinds & {"toolUse", "toolResult"}:
        assert body["toolConfig"]["tools"]
    names = [
        b["document"]["name"] for t in body["messages"] for b in t["content"] if "document" in b
    ]
    assert len(set(names)) == len(names)
    return system, turns


def understood(block: Json) -> tuple[Any, ...]:
    """Read one block of a request."""
    [(kind, data)] = block.items()
    if kind == "text":
        assert data.strip()
        return "text", data
    if kind == "toolUse":
        return "call", data["toolUseId"], data["name"], data["input"]
    if kind == "toolResult":
        inner = [understood(one) for one in data["content"]]
        return "result", data["toolUseId"], inner, data.get("status") == "error"
    if kind == "reasoningContent":
        if "redactedContent" in data:
            return "hidden", data["redactedContent"]
        return "thought", data["reasoningText"]["text"], data["reasoningText"]["signature"]
    assert kind in {"image", "document", "audio"}
    return "data", data["source"]["bytes"]


def sent(body: Prompt | Wire) -> Json:
    """Encode a request for Bedrock."""
    wire: Json = json.loads(load("bedrock").encode(Chat(model="m", body=body), ROW).body)
    return wire


def reachable(prompt: Prompt) -> Prompt:
    """Return `prompt` with its pictures on the web as bytes."""
    messages = tuple(
        replace(
            message,
            parts=tuple(
                Image(data="iVBORw0KGgo=") if isinstance(part, Image) and part.url else part
                for part in message.parts
            ),
        )
        for message in prompt.messages
    )
    return replace(prompt, messages=messages)


# --- the tests ------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(prompts)
def test_a_typed_prompt_is_said_whole(prompt: Prompt) -> None:
    """Words, pictures, files, calls, results and proven thoughts arrive in their order."""
    prompt = reachable(prompt)
    assert heard(sent(prompt)) == essence(prompt)


@pytest.mark.parametrize("spoken", ["openai_chat", "anthropic"])
@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_requests_of_others_are_said_whole(spoken: str) -> None:
    """Every recorded request, from the caller's bytes to Bedrock's."""
    dialect, counts = load(spoken), Counter[str]()
    own = gpt if spoken == "openai_chat" else claude
    for provider in own.ANSWERS if spoken == "openai_chat" else ("anthropic",):
        for record in own.records(provider):
            try:
                wire = dialect.read(json.dumps(record["request"]).encode()).body
                body = sent(wire)
            except CapabilityMissing:
                counts["on the web"] += 1
                continue
            except InputError:
                continue  # refused for its own sake, or not recorded
            prompt = wire.prompt
            assert heard(body) == essence(prompt), record["id"]
            counts["said"] += 1
    print(f"{spoken}: {dict(counts)}")
    assert counts["said"] >= (1000 if spoken == "openai_chat" else 300)


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_answers_reach_clients_of_other_dialects() -> None:
    """Whole and streamed: words, thoughts, calls, why it ended and usage, valid by their SDKs."""
    counts: Counter[str] = Counter()
    for record in bedrock.answered():
        frames, _ = bedrock.frames_of(record["body"], lambda body: [body])
        before = plain(frames)
        for spoken in ("openai_chat", "anthropic"):
            dialect = load(spoken)
            writer = dialect.write(CHAT, "bedrock")
            stream = b"".join(writer.frame(one) for one in frames) + writer.end(Cost(7))
            whole = dialect.write(CHAT, "bedrock").whole(frames, Cost(7))
            if spoken == "anthropic":
                SdkMessage.model_validate_json(whole)
            else:
                ChatCompletion.model_validate_json(whole)
                for data in claude.data_lines(stream):
                    ChatCompletionChunk.model_validate_json(data)
            assert plain([dialect.decode(whole, Memo())]) == before, (spoken, record["id"])
            assert plain(streamed(spoken, stream)) == before, (spoken, record["id"])
            counts[spoken] += 1
    print(dict(counts))
    assert min(counts.values()) >= 137


@pytest.mark.parametrize("spoken", ["openai_chat", "anthropic"])
def test_signed_thoughts_survive_a_client_of_another_dialect(spoken: str) -> None:
    """Shown to the client, sent back as they came, and put in their place, byte for byte."""
    content = [
        {"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln+/=="}}},
        {"reasoningContent": {"redactedContent": "aGlkZGVu"}},
        {"text": "Two."},
        {"toolUse": {"toolUseId": "tooluse_a-B_1", "name": "f", "input": {"a": 1}}},
    ]
    answer = {"output": {"message": {"role": "assistant", "content": content}}}
    body = json.dumps(answer | {"stopReason": "tool_use", "usage": {"inputTokens": 1}}).encode()
    frame = load("bedrock").decode(body, Memo())
    dialect = load(spoken)
    shown = json.loads(dialect.write(CHAT, "bedrock").whole([frame], Cost(1)))
    told = shown["choices"][0]["message"] if spoken == "openai_chat" else shown
    said_by_model = {"role": "assistant", "content": told["content"]} | (
        told if spoken == "openai_chat" else {}
    )
    request = {"model": "m", "max_tokens": 9, "messages": [say_hi(), said_by_model]}
    back = sent(dialect.read(json.dumps(request).encode()).body)
    assert sorted(map(str, back["messages"][1]["content"])) == sorted(map(str, content))


def say_hi() -> Json:
    """Return what a user says in both dialects."""
    return {"role": "user", "content": "Hi"}


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_answers_go_back_as_they_came() -> None:
    """An answer that is sent again is the same blocks, whoever else's words stand in them."""
    checked = 0
    for record in bedrock.answered():
        frames, _ = bedrock.frames_of(record["body"], lambda body: [body])
        fold = Fold()
        for event in (event for frame in frames for event in frame.events):
            fold.add(event)
        messages = (say("user", "Hi"), fold.message(), say("user", "Go on"))
        blocks = sent(Prompt(messages=messages))["messages"]
        if len(blocks) == 1:
            continue  # it had said nothing
        found = [bedrock.plain(block) for block in blocks[1]["content"]]
        came = [bedrock.plain(block) for block in bedrock.said_in(record["body"])["blocks"]]
        assert found == [block for block in came if is_sent(block)], record["id"]
        checked += 1
    print(f"{checked} answers")
    assert checked >= 130


def is_sent(block: Json) -> bool:
    """Whether a block goes back: words that say something, thoughts that are signed."""
    if thought := block.get("reasoningContent"):
        return "signature" in thought or "redactedContent" in thought
    return bool(block.get("text", "x").strip()) or "citations" in block


def test_pictures_on_the_web_are_refused() -> None:
    """With a word about what to do; so are those in a bucket that nobody listed."""
    image = Message(role="user", parts=(Image(url="https://x.test/a.png"),))
    with pytest.raises(CapabilityMissing, match="base64"):
        sent(Prompt(messages=(image,)))
    image = Message(role="user", parts=(Image(url="s3://bucket/a.png"),))
    with pytest.raises(InputError, match="'buckets'"):
        sent(Prompt(messages=(image,)))
