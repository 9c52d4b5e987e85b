"""Spell an answer as one `chat.completion`, from frames of any dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.chunks import Head, finish_of, thought_of
from trunkline.dialects.openai_chat.details import joined
from trunkline.dialects.openai_chat.usage import spelled
from trunkline.fold import Fold
from trunkline.types import (
    Audio,
    Cost,
    Finish,
    Frame,
    Message,
    Refusal,
    Started,
    Thinking,
    ThinkingDelta,
    Usage,
    UsageReport,
)

Json = dict[str, Any]


def body_of(frames: Sequence[Frame], head: Head, cost: Cost | None) -> bytes:
    """Return the whole answer; `cost` only if it was asked for."""
    folds: dict[int, Fold] = {0: Fold()}
    finishes: dict[int, Finish] = {}
    usage: Usage | None = None
    for event in (event for frame in frames for event in frame.events):
        if isinstance(event, Started):
            head.take(event)
        elif isinstance(event, UsageReport):
            usage = event.usage
        else:
            folds.setdefault(event.choice, Fold(event.choice)).add(event)
            if isinstance(event, Finish):
                finishes[event.choice] = event
    body: Json = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created_s,
        "model": head.model,
        "choices": [
            _choice(number, folds[number].message(), finishes.get(number))
            for number in sorted(folds)
        ],
    }
    if usage is not None:
        body["usage"] = spelled(usage, cost)
    return dump(body)


def _choice(number: int, message: Message, finish: Finish | None) -> Json:
    said = _message(message)
    logprobs = said.pop("logprobs", None)
    ended = finish_of(finish or Finish(choice=number, reason="unknown"))
    return {"index": number, "message": said, "logprobs": logprobs, **ended}


def _message(message: Message) -> Json:
    refusal = "".join(part.text for part in message.parts if isinstance(part, Refusal))
    text = message.text
    said: Json = {
        "role": "assistant",
        "content": text or (None if message.tool_calls or refusal else ""),
        "refusal": refusal or None,
    }
    for block, part in enumerate(message.parts):
        if isinstance(part, Thinking):
            _think(said, part, block)
        elif isinstance(part, Audio):
            said["audio"] = {
                "id": part.id or "",
                "data": part.data or "",
                "transcript": part.transcript or "",
                "expires_at": part.expires_at or 0,
            }
    calls = [
        {
            "id": call.id,
            "type": call.kind,
            call.kind: {
                "name": call.name,
                "input" if call.kind == "custom" else "arguments": call.arguments,
            },
            **call.extra,
        }
        for call in message.tool_calls
    ]
    if calls:
        said["tool_calls"] = calls
    if "reasoning_details" in message.extra:
        said["reasoning_details"] = joined(message.extra["reasoning_details"])
    return message.extra | said


def _think(said: Json, part: Thinking, block: int) -> None:
    proof = part.signature is not None or part.redacted is not None
    delta = ThinkingDelta(
        text=part.text,
        signature=part.signature,
        redacted=part.redacted,
        spelling=part.spelling,
        block=block if proof else None,
    )
    for name, value in thought_of(delta).items():
        said[name] = said[name] + value if name in said else value
