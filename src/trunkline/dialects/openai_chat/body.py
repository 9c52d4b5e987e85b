"""Spell an answer as one `chat.completion`, from frames of any dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.chunks import Head, finish_of, sources_of, thought_of
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
    Text,
    Thinking,
    ThinkingDelta,
    Usage,
    UsageReport,
)

Json = dict[str, Any]
_CUT = Finish(reason="unknown")


def choice_of(number: int, message: Message, finish: Finish) -> Json:
    """Spell one choice."""
    said = _message(message)
    logprobs = said.pop("logprobs", None)
    return {"index": number, "message": said, "logprobs": logprobs, **finish_of(finish)}


def body_of(
    frames: Sequence[Frame],
    head: Head,
    cost: Cost | None,
    kind: str = "chat.completion",
    spell: Callable[[int, Message, Finish], Json] = choice_of,
) -> bytes:
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
        "object": kind,
        "created": head.created_s,
        "model": head.model,
        "choices": [
            spell(number, folds[number].message(), finishes.get(number, _CUT))
            for number in sorted(folds)
        ],
    }
    if usage is not None:
        body["usage"] = spelled(usage, cost)
    return dump(body)


def _message(message: Message) -> Json:
    refusal = "".join(part.text for part in message.parts if isinstance(part, Refusal))
    text = message.text
    said: Json = {
        "role": "assistant",
        "content": text or (None if message.tool_calls or refusal else ""),
        "refusal": refusal or None,
    }
    sources: list[Json] = []
    for block, part in enumerate(message.parts):
        if isinstance(part, Text):
            sources += sources_of(part.extra, len(sources))
        elif isinstance(part, Thinking):
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
    if sources:
        said["citations"] = sources
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
