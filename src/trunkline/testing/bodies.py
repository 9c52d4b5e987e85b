"""Valid bodies of the great APIs, whole and as events, for scripts of a `FakeUpstream`.

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


def content_answer(text: str = "Hello.", **fields: object) -> dict[str, Any]:
    """Return a whole answer as Gemini gives it; `fields` replace its own.

    Source: https://ai.google.dev/api/generate-content (2026-11-20)
    """
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 5,
            "totalTokenCount": 15,
        },
        "modelVersion": "fake-model",
        "responseId": "fake",
        **fields,
    }


def content_chunks(text: str = "Hello.") -> list[dict[str, Any]]:
    """Return the events of an answer streamed by Gemini; only the last says why it ended."""
    chunks = [content_answer(word) for word in re.findall(r"\S+\s*|\s+", text)]
    for chunk in chunks[:-1]:
        del chunk["candidates"][0]["finishReason"]
    return chunks


def ollama_answer(text: str = "Hello.", **fields: object) -> dict[str, Any]:
    """Return a whole answer as Ollama's own API gives it; `fields` replace its own.

    Source: https://docs.ollama.com/api/chat (2026-11-20)
    """
    return {
        "model": "fake-model",
        "created_at": "2027-01-15T08:00:00.000001Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 10,
        "eval_count": 5,
        **fields,
    }


def ollama_lines(text: str = "Hello.", **fields: object) -> list[bytes]:
    """Return the lines of an answer streamed by Ollama's own API: each word, and the end."""
    last = ollama_answer("", **fields)
    begun = {name: last[name] for name in ("model", "created_at", "message")}
    words = [
        {**begun, "message": {**begun["message"], "content": word}, "done": False}
        for word in re.findall(r"\S+\s*|\s+", text)
    ]
    return [json.dumps(line).encode() + b"\n" for line in (*words, last)]


def response_answer(text: str = "Hello.", **fields: object) -> dict[str, Any]:
    """Return a whole answer as OpenAI's Responses API gives it; `fields` replace its own.

    Source: https://platform.openai.com/docs/api-reference/responses/object (2026-11-20)
    """
    words = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    said = {"id": "msg_fake", "type": "message", "status": "completed", "role": "assistant"}
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1_800_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "fake-model",
        "output": [{**said, "content": [words]}],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
        **fields,
    }


def response_events(text: str = "Hello.", **fields: object) -> list[bytes]:
    """Return the events of an answer streamed by the Responses API, as blocks.

    Source: https://platform.openai.com/docs/api-reference/responses-streaming (2026-11-20)
    """
    answer = response_answer(text, **fields)
    begun = answer | {"status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")
    ]
    for number, item in enumerate(answer["output"]):
        events += _item_events(item, {"item_id": item["id"], "output_index": number})
    events.append({"type": f"response.{answer['status']}", "response": answer})
    return [
        f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': n})}\n\n".encode()
        for n, event in enumerate(events)
    ]


def _item_events(item: dict[str, Any], at: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of one item; what is said of it comes word by word."""
    kinds: dict[str, tuple[str, str, dict[str, object]]] = {
        "message": ("output_text", "text", {"content_index": 0, "logprobs": []}),
        "reasoning": ("reasoning_summary_text", "text", {"summary_index": 0}),
        "function_call": ("function_call_arguments", "arguments", {}),
    }
    blank: dict[str, object] = {"content": [], "summary": [], "arguments": ""}
    empty = {name: value for name, value in blank.items() if name in item}
    shared = {"output_index": at["output_index"]}
    events = [{"type": "response.output_item.added", "item": item | empty, **shared}]
    if item["type"] in kinds:
        kind, field, place = kinds[item["type"]]
        parts = item.get("content") or item.get("summary") or [item]
        words = "".join(part.get(field, "") for part in parts)
        for word in re.findall(r"\S+\s*|\s+", words):
            events.append({"type": f"response.{kind}.delta", "delta": word, **at, **place})
        if words:
            events.append({"type": f"response.{kind}.done", field: words, **at, **place})
    return [*events, {"type": "response.output_item.done", "item": item, **shared}]
