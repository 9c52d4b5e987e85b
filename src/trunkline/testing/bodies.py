"""Valid bodies of both great APIs, whole and as events, for scripts of a `FakeUpstream`.

Source: https://platform.openai.com/docs/api-reference/chat (2026-11-20)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_COMMON = {"id": "chatcmpl-fake", "created": 1_800_000_000, "model": "fake-model"}


def chat_usage(prompt_tokens: int, completion_tokens: int, **details: object) -> dict[str, Any]:
    """Return a usage object whose total is the sum; `details` are added as they are."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        **details,
    }


def chat_answer(
    text: str | None = "Hello.",
    *,
    usage: Mapping[str, Any] | None = None,
    finish: str = "stop",
    tool_calls: Sequence[Mapping[str, Any]] | None = None,
    **message: object,
) -> dict[str, Any]:
    """Return a whole chat completion; `message` holds further fields of the message."""
    said: dict[str, Any] = {"role": "assistant", "content": text, **message}
    if tool_calls:
        said["tool_calls"] = list(tool_calls)
    return {
        **_COMMON,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": chat_usage(10, 5) if usage is None else usage,
    }


def chat_chunk(
    delta: Mapping[str, Any], *, finish: str | None = None, **fields: object
) -> dict[str, Any]:
    """Return one chunk of a streamed chat completion."""
    return {
        **_COMMON,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }


def chat_chunks(
    text: str = "Hello.",
    *,
    usage: Mapping[str, Any] | None = None,
    finish: str | None = "stop",
) -> list[dict[str, Any]]:
    """Return the chunks of an answer: role, each word, finish, and usage where it is given."""
    chunks = [chat_chunk({"role": "assistant", "content": ""})]
    chunks += [chat_chunk({"content": word}) for word in re.findall(r"\S+\s*|\s+", text)]
    if finish is not None:
        chunks.append(chat_chunk({}, finish=finish))
    if usage is not None:
        chunks.append({**chat_chunk({}), "choices": [], "usage": usage})
    return chunks


def text_answer(
    text: str = "Hello.", *, usage: Mapping[str, Any] | None = None, **choice: object
) -> dict[str, Any]:
    """Return a whole text completion; `choice` holds further fields of its one choice.

    Source: https://platform.openai.com/docs/api-reference/completions/object (2026-11-20)
    """
    said = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"} | choice
    common = _COMMON | {"id": "cmpl-fake", "object": "text_completion"}
    return {**common, "choices": [said], "usage": chat_usage(10, 5) if usage is None else usage}


def text_chunks(
    text: str = "Hello.", *, usage: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the chunks of a text completion: each word, finish, and usage where it is given."""
    chunks = [text_answer(word, finish_reason=None) for word in re.findall(r"\S+\s*|\s+", text)]
    chunks.append(text_answer(""))
    for chunk in chunks:
        del chunk["usage"]
    if usage is not None:
        chunks.append(chunks[-1] | {"choices": [], "usage": usage})
    return chunks


def message_answer(text: str = "Hello.", **fields: object) -> dict[str, Any]:
    """Return a whole answer as Anthropic's Messages API gives it; `fields` replace its own.

    Source: https://docs.anthropic.com/en/api/messages (2026-11-20)
    """
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": "fake-model",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **fields,
    }


def message_events(text: str = "Hello.", *, output_tokens: int = 5) -> list[bytes]:
    """Return the events of an answer streamed by Anthropic's Messages API, as blocks.

    Source: https://docs.anthropic.com/en/api/messages-streaming (2026-11-20)
    """
    opening = message_answer(content=[], stop_reason=None)
    opening["usage"] = {"input_tokens": 10, "output_tokens": 1}
    block = {"type": "text", "text": ""}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
    ]
    events += [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": word},
        }
        for word in re.findall(r"\S+\s*|\s+", text)
    ]
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": output_tokens}},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
