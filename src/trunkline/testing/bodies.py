"""Valid OpenAI chat bodies, whole and as chunks, for scripts of a `FakeUpstream`.

Source: https://platform.openai.com/docs/api-reference/chat (2026-11-20)
"""

from __future__ import annotations

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
