"""To Cohere and back: what is said in another dialect is said to Cohere, and its answers are heard.

Nobody calls us in Cohere's dialect, so its requests are read here by plain JSON. What is lost is
named here, once: names of messages and empty words; signatures, and thoughts nobody can read;
whether a result is an error; the order of words, thoughts and calls within an answer; a refusal
becomes words, pictures inside a result follow it as the user's. Sound and files are refused.
"""

import json
from collections import Counter
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given, settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_cohere as cohere
from tests.contract import test_recordings_openai_chat as gpt
from tests.contract.test_translation import prompts
from tests.contract.test_translation_gemini import CHAT, plain, streamed
from trunkline.dialects import load
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
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
)

Json = dict[str, Any]
ROW = Deployment(provider="p", model="command-a", dialect="cohere", base_url="http://x.test/v2")
NO_RECORDINGS = pytest.mark.skipif(
    not cohere.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS"
)


def essence(prompt: Prompt) -> Counter[Any]:
    """Write down what a prompt says, in the order of its messages, and by whom."""
    said: list[Any] = []
    for message in prompt.messages:
        role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
        for part in message.parts:
            if isinstance(part, ToolResult):
                words = "".join(p.text for p in part.parts if isinstance(p, Text))
                said.append(("result", part.id, words))
                said += [("image", picture(p)) for p in part.parts if isinstance(p, Image)]
            elif isinstance(part, Text | Refusal) and part.text:
                said.append((role, part.text))
            elif isinstance(part, Thinking) and part.text:
                said.append(("thought", part.text))
            elif isinstance(part, Image):
                said.append(("image", picture(part)))
            elif isinstance(part, ToolCall):
                said.append(("call", part.id, part.name, part.arguments))
            elif isinstance(part, Audio) and part.transcript:
                said.append((role, part.transcript))
    return Counter(said)


def picture(part: Image) -> str:
    """Return the URL of a picture."""
    return part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"


def heard(body: Json) -> Counter[Any]:
    """Read a request of Cohere's by plain JSON, in the same form."""
    said: list[Any] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            said.append(("result", message["tool_call_id"], message["content"]))
            continue
        for block in message.get("content", ()):
            if block["type"] == "text":
                said.append((message["role"], block["text"]))
            elif block["type"] == "thinking":
                said.append(("thought", block["thinking"]))
            else:
                said.append(("image", block["image_url"]["url"]))
        for call in message.get("tool_calls", ()):
            said.append(("call", call["id"], *call["function"].values()))
    return Counter(said)


def sent(body: Prompt | Wire) -> Json:
    """Encode a request for Cohere."""
    wire: Json = json.loads(load("cohere").encode(Chat(model="m", body=body), ROW).body)
    return wire


@settings(max_examples=300)
@given(prompts)
def test_a_typed_prompt_is_said_whole(prompt: Prompt) -> None:
    """Words, pictures, thoughts, calls and results arrive; results follow their calls at once."""
    kept = Prompt(
        messages=tuple(
            Message(role=m.role, parts=tuple(p for p in m.parts if not isinstance(p, File)))
            for m in prompt.messages
        )
    )
    if not essence(kept):
        return
    body = sent(kept)
    assert heard(body) == essence(kept)
    waiting: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            waiting.discard(message["tool_call_id"])
        else:
            assert not waiting
        waiting |= {call["id"] for call in message.get("tool_calls", ())}


@NO_RECORDINGS
@pytest.mark.parametrize("spoken", ["openai_chat", "anthropic"])
def test_recorded_requests_of_others_are_said_whole(spoken: str) -> None:
    """Every recorded request that has a form here, from the caller's bytes to Cohere's."""
    dialect, checked = load(spoken), 0
    own = gpt if spoken == "openai_chat" else claude
    for provider in own.ANSWERS if spoken == "openai_chat" else ("anthropic",):
        for record in own.records(provider):
            try:
                wire = dialect.read(json.dumps(record["request"]).encode()).body
                body = sent(wire)
            except (InputError, CapabilityMissing):
                continue  # refused for its own sake, not recorded, or without a form
            assert heard(body) == essence(wire.prompt), record["id"]
            checked += 1
    print(f"{checked} recorded requests of {spoken}")
    assert checked >= (1100 if spoken == "openai_chat" else 300)


@NO_RECORDINGS
def test_recorded_answers_reach_clients_of_other_dialects() -> None:
    """Whole and streamed: words, thoughts, calls, why it ended and usage, valid by their SDKs."""
    checked = 0
    for record in cohere.answers():
        frames = cohere.frames_of(record["body"], lambda body: [body])
        before = plain(frames)
        for spoken in ("openai_chat", "anthropic"):
            dialect = load(spoken)
            writer = dialect.write(CHAT, "cohere")
            stream = b"".join(writer.frame(one) for one in frames) + writer.end(Cost(7))
            whole = dialect.write(CHAT, "cohere").whole(frames, Cost(7))
            if spoken == "anthropic":
                SdkMessage.model_validate_json(whole)
            else:
                ChatCompletion.model_validate_json(whole)
                for data in claude.data_lines(stream):
                    ChatCompletionChunk.model_validate_json(data)
                cited = cohere.said_in(record["body"])["citations"]
                assert json.loads(whole)["choices"][0]["message"].get("citations", []) == cited
            assert plain([dialect.decode(whole, Memo())]) == before, (spoken, record["id"])
            assert plain(streamed(spoken, stream)) == before, (spoken, record["id"])
        checked += 1
    print(f"{checked} recorded answers of Cohere")
    assert checked >= 54
