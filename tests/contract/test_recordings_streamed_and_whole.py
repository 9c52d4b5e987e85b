"""The same answer, streamed or whole, is the same answer: parts, finish and usage.

No provider was recorded saying one thing in both ways, so each recorded stream is joined here to
the whole body that its API documents, by plain JSON, and both are decoded.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract import test_recordings_anthropic as claude
from tests.contract import test_recordings_bedrock as bedrock
from tests.contract import test_recordings_cohere as cohere
from tests.contract import test_recordings_ollama as ollama
from tests.contract import test_recordings_openai_chat as gpt
from tests.contract import test_recordings_openai_responses as newer
from tests.contract import test_recordings_openai_text as text
from tests.contract.test_recordings_accounted import FAILS, Json
from tests.contract.test_recordings_over_a_socket import answers, frames_of, is_whole
from tests.contract.test_translation import answered, arguments, meaning
from trunkline.dialects import load
from trunkline.types import AnyPart, Frame, Memo, ToolCall

LEAST = {
    "anthropic": 100,
    "bedrock": 43,
    "cohere": 21,
    "gemini": 95,
    "ollama": 43,
    "openai_chat": 380,
    "openai_responses": 125,
    "openai_text": 6,
}
"""How many streams of each dialect must be compared."""

pytestmark = pytest.mark.skipif(
    not gpt.RECORDINGS.is_dir(), reason="no recordings; set TRUNKLINE_RECORDINGS"
)


def of_gemini(body: bytes) -> Any:
    """Return the pieces as a list, which the API answers where nobody asks for events."""
    return [json.loads(data) for data in re.findall(rb"^data:(.*?)\r?$", body, re.MULTILINE)]


def of_bedrock(body: bytes) -> Json:
    """Join the blocks, each in the form it has in a whole answer."""
    said = bedrock.said_in(body)
    blocks = [whole_block(block) for block in said["blocks"]]
    message = {"role": "assistant", "content": blocks}
    return {"output": {"message": message}, "stopReason": said["reason"], "usage": said["usage"]}


def whole_block(block: Json) -> Json:
    """Write a block of a stream as whole answers have it."""
    thought = block.get("reasoningContent", {})
    if thought and "redactedContent" not in thought:
        return {"reasoningContent": {"reasoningText": thought}}
    if "citations" in block:
        words = [{"text": block.get("text", "")}]
        return {"citationsContent": {"content": words, "citations": block["citations"]}}
    return block


def of_ollama(body: bytes) -> Json:
    """Join the messages of the lines; everything else stands in the last."""
    lines = ollama.objects_in(body)
    message: Json = {"role": "assistant"}
    for part in (line["message"] for line in lines):
        for name in ("content", "thinking", "tool_calls"):
            if part.get(name):
                message[name] = message.get(name, type(part[name])()) + part[name]
    return {**lines[-1], "created_at": lines[0]["created_at"], "message": message}


def of_cohere(body: bytes) -> Json:
    """Join words, thoughts, plan and citations; ids are those of the stream."""
    said = cohere.said_in(body)
    ids = re.findall(rb'"id": ?"([^"]+)","type": ?"function"|"tool_calls":\{"id":"([^"]+)"', body)
    calls = [
        {"id": (one or other).decode(), "function": {"name": name, "arguments": arguments}}
        for (one, other), (name, arguments) in zip(ids, said["calls"], strict=True)
    ]
    content = [{"type": "thinking", "thinking": said["thought"]}] if said["thought"] else []
    content += [{"type": "text", "text": said["text"]}] if said["text"] else []
    message = {"content": content, "tool_plan": said["plan"], "tool_calls": calls}
    return {
        "message": message | {"citations": said["citations"]},
        "finish_reason": said["reason"],
        "usage": said["usage"],
    }


def of_chat(body: bytes) -> Json:
    """Join the deltas of the first choice."""
    said = gpt.said_in(body)
    calls = [
        {"id": call.pop("id"), "type": "function", "function": call}
        for call in said["calls"].values()
    ]
    chunks = [json.loads(data) for data in gpt.data_lines(body)]
    deltas = [choice.get("delta") or {} for one in chunks for choice in one.get("choices") or ()]
    refusal = "".join(delta.get("refusal") or "" for delta in deltas)
    message = {"content": said["text"], "reasoning": said["reasoning"], "refusal": refusal or None}
    choice = {"message": message | {"tool_calls": calls}, "finish_reason": said["finish"]}
    last: Json = chunks[-1]
    return last | {"choices": [choice], "usage": said["usage"]}


def of_text(body: bytes) -> Json:
    """Join the texts of each choice."""
    said = text.said_in(body)
    choices = [
        {"index": index, "text": words, "finish_reason": said["reasons"][index]}
        for index, words in said["texts"].items()
    ]
    return {"model": said["model"], "choices": choices}


JOINED: dict[str, Callable[[bytes], Any]] = {
    "anthropic": claude.said_in,
    "bedrock": of_bedrock,
    "cohere": of_cohere,
    "gemini": of_gemini,
    "ollama": of_ollama,
    "openai_chat": of_chat,
    "openai_responses": newer.said_in,
    "openai_text": of_text,
}


def told(frames: list[Frame], name: str) -> tuple[Any, ...]:
    """Write down an answer; a joined chat has one spelling of thought, and no part of its own."""
    parts, finish, usage = meaning(frames)
    if name == "openai_chat":
        return answered(parts), finish, usage
    return [plain(part) for part in parts], finish, usage


def plain(part: AnyPart) -> AnyPart | tuple[Any, ...]:
    """Read the arguments of a call: the spaces in them are not kept where they are an object."""
    if isinstance(part, ToolCall):
        return part.id, part.name, part.kind, arguments(part.arguments), part.extra
    return part


@pytest.mark.parametrize("name", JOINED)
def test_a_stream_says_what_the_whole_would(name: str) -> None:
    """Every recorded stream, but those whose recorder joined several or took deltas out."""
    checked = 0
    for dialect, record in answers():
        body = record["body"]
        if dialect != name or is_whole(name, record) or record["id"] in {*FAILS, newer.SHORTENED}:
            continue
        if max(map(body.count, (b"event: message_start", b"event: response.created"))) > 1:
            continue
        streamed = told([frame for _, frame in frames_of(name, record)], name)
        whole = json.dumps(JOINED[name](body)).encode()
        assert streamed == told([load(name).decode(whole, Memo())], name), record["id"]
        checked += 1
    print(f"{name}: {checked} streams")
    assert checked >= LEAST[name]
