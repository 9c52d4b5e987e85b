"""To Gemini and back: what is said in another dialect is said to Gemini, and its answers are heard.

Nobody calls us in Gemini's dialect, so its requests are read here by plain JSON. What is lost is
named here, once: names of messages and empty words; thoughts that are not Gemini's own; a refusal
becomes words, free text for a custom tool and for a result become a field of an object, a picture
keeps its bytes or its address and nothing else.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given, settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_gemini as gemini
from tests.contract import test_recordings_openai_chat as gpt
from tests.contract.test_translation import meaning, prompts
from trunkline.dialects import load
from trunkline.errors import InputError
from trunkline.fold import Fold
from trunkline.types import (
    AnyPart,
    Audio,
    Chat,
    Cost,
    Deployment,
    File,
    Frame,
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
Turns = list[tuple[str, list[Any]]]
ROW = Deployment(
    provider="p", model="gemini-3.5-flash", dialect="gemini", base_url="http://x.test/v1beta"
)
CHAT = Chat(
    id="01J",
    model="m",
    body=Prompt(messages=(say("user", "Hi"),), extra={"stream_options": {"include_usage": True}}),
)


# --- what a prompt says, and what a request of Gemini says ----------------------------------------


def essence(prompt: Prompt) -> tuple[list[str], Turns]:
    """Return the system's words, and turns that alternate, results of tools first in each."""
    system: list[str] = []
    turns: Turns = []
    for message in prompt.messages:
        items = [item for part in message.parts for item in said(part)]
        if message.role in {"system", "developer"}:
            system += [item[1] for item in items]
        elif items:
            role = "model" if message.role == "assistant" else "user"
            if not turns or turns[-1][0] != role:
                turns.append((role, []))
            turns[-1][1].extend(items)
    for role, items in turns:
        if role == "user":
            items.sort(key=lambda item: item[0] != "result")
    if system and not turns:
        return [], [("user", [("text", words) for words in system])]
    return system, turns


def said(part: AnyPart) -> Iterable[tuple[Any, ...]]:
    """Write down one part; what says nothing is left out."""
    if isinstance(part, Text | Refusal):
        if part.text:
            yield "text", part.text
    elif isinstance(part, Image | File):
        yield "data", part.data or part.url or (part.id if isinstance(part, File) else "")
    elif isinstance(part, Audio):
        if part.data or part.transcript:
            yield ("data", part.data) if part.data else ("text", part.transcript)
    elif isinstance(part, ToolCall):
        yield "call", part.id, part.name, as_object(part.arguments, "input")
    elif isinstance(part, ToolResult):
        words = "".join(one.text for one in part.parts if isinstance(one, Text))
        answer = as_object(words, "error" if part.is_error else "output")
        if part.is_error and answer != {"error": words}:
            answer = {"error": answer}
        shown = [i for one in part.parts if not isinstance(one, Text) for i in said(one)]
        yield "result", part.id, answer, shown


def as_object(text: str, name: str) -> Json:
    """Return JSON as the object it is, or is made."""
    try:
        value = json.loads(text)
    except ValueError:
        return {name: text}
    return value if isinstance(value, dict) else {name: text}


def heard(body: Json) -> tuple[list[str], Turns]:
    """Read a request as Gemini does."""
    system = [part["text"] for part in body.get("systemInstruction", {}).get("parts", ())]
    turns = [
        (content["role"], [understood(part) for part in content["parts"]])
        for content in body["contents"]
    ]
    assert all(one[0] != two[0] for one, two in pairwise(turns))
    return system, turns


def understood(part: Json) -> tuple[Any, ...]:
    """Read one part of a request."""
    if "text" in part:
        return "text", part["text"]
    if call := part.get("functionCall"):
        return "call", call["id"], call["name"], call["args"]
    if answer := part.get("functionResponse"):
        shown = [understood(one) for one in answer.get("parts", ())]
        return "result", answer["id"], answer["response"], shown
    return "data", part.get("inlineData", {}).get("data") or part["fileData"]["fileUri"]


def sent(body: Prompt | Wire) -> Json:
    """Encode a request for Gemini."""
    wire: Json = json.loads(load("gemini").encode(Chat(model="m", body=body), ROW).body)
    return wire


# --- the tests ------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(prompts)
def test_a_typed_prompt_is_said_whole(prompt: Prompt) -> None:
    """Words, pictures, files, calls and results arrive in their order."""
    body = sent(prompt)
    assert heard(body) == essence(prompt)
    names = {call.id: call.name for message in prompt.messages for call in message.tool_calls}
    for content in body["contents"]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        assert [("thoughtSignature" in part) for part in calls] == [
            place == 0 for place in range(len(calls))
        ]
        for part in content["parts"]:
            if answer := part.get("functionResponse"):
                assert answer["name"] == names[answer["id"]]


@pytest.mark.parametrize("spoken", ["openai_chat", "anthropic"])
@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_requests_of_others_are_said_whole(spoken: str) -> None:
    """Every recorded request, from the caller's bytes to Gemini's."""
    dialect, checked = load(spoken), 0
    own = gpt if spoken == "openai_chat" else claude
    for provider in own.ANSWERS if spoken == "openai_chat" else ("anthropic",):
        for record in own.records(provider):
            try:
                wire = dialect.read(json.dumps(record["request"]).encode()).body
                body = sent(wire)
            except InputError:
                continue  # refused for its own sake, or not recorded
            prompt = wire.prompt
            found, expected = heard(body), essence(prompt)
            for turn in (*found[1], *expected[1]):
                turn[1].sort(key=str)  # results are put in the order of their calls
            assert found == expected, record["id"]
            checked += 1
    print(f"{checked} recorded requests of {spoken}")
    assert checked >= (1140 if spoken == "openai_chat" else 340)


@pytest.mark.skipif(not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS")
def test_recorded_answers_reach_clients_of_other_dialects() -> None:
    """Whole and streamed: words, thoughts, calls, why it ended and usage, valid by their SDKs."""
    counts: Counter[str] = Counter()
    for provider in gemini.ANSWERS:
        for id_, body in gemini.answers(provider):
            frames, _ = gemini.frames_of(body, lambda body: [body])
            before = plain(frames)
            for spoken in ("openai_chat", "anthropic"):
                dialect = load(spoken)
                writer = dialect.write(CHAT, "gemini")
                stream = b"".join(writer.frame(one) for one in frames) + writer.end(Cost(7))
                whole = dialect.write(CHAT, "gemini").whole(frames, Cost(7))
                if spoken == "anthropic":
                    SdkMessage.model_validate_json(whole)
                else:
                    ChatCompletion.model_validate_json(whole)
                    for data in claude.data_lines(stream):
                        ChatCompletionChunk.model_validate_json(data)
                again = [dialect.decode(whole, Memo())]
                assert plain(again) == before, (spoken, id_)
                assert plain(streamed(spoken, stream)) == before, (spoken, id_)
                counts[spoken] += 1
    print(dict(counts))
    assert min(counts.values()) >= sum(gemini.ANSWERS.values())


def streamed(spoken: str, stream: bytes) -> list[Frame]:
    """Decode a stream that we wrote."""
    memo, dialect = Memo(), load(spoken)
    return [
        dialect.decode_frame(block + b"\n\n", memo)
        for block in stream.split(b"\n\n")
        if block.strip()
    ]


def plain(frames: list[Frame]) -> tuple[Any, ...]:
    """Return what any client can hear of an answer."""
    _, reason, usage = meaning(frames)
    fold = Fold()
    for event in (event for frame in frames for event in frame.events):
        fold.add(event)
    message = fold.message()
    calls = [(call.id, call.name, json.loads(call.arguments)) for call in message.tool_calls]
    assert usage is None or usage.prompt_tokens >= usage.cache_read_tokens
    counted = usage and (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens)
    return message.text, message.thinking, calls, reason, counted


def test_signatures_survive_a_client_of_openai() -> None:
    """Shown in Google's own spelling, sent back by the client as they came, and put in place."""
    parts = [
        {"text": "Two."},
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln+/=="},
        {"functionCall": {"name": "g", "args": {}}},
    ]
    content = {"role": "model", "parts": parts}
    body = {"candidates": [{"content": content, "finishReason": "STOP"}], "responseId": "r"}
    frame = load("gemini").decode(json.dumps(body).encode(), Memo())
    openai_chat = load("openai_chat")
    shown = json.loads(openai_chat.write(CHAT, "gemini").whole([frame], Cost(1)))
    said_by_model = shown["choices"][0]["message"]
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}, said_by_model]}
    wire = openai_chat.read(json.dumps(request).encode()).body
    back = sent(wire)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in back] == [None, "c2ln+/==", None]
    folded = Message(
        role="assistant", parts=(Thinking(text="t", signature="s", spelling="gemini"),)
    )
    typed = sent(Prompt(messages=(say("user", "Hi"), folded)))
    assert typed["contents"][1]["parts"] == [
        {"text": "t", "thought": True, "thoughtSignature": "s"}
    ]
