"""Spell an answer as one message, from frames of any dialect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.anthropic.blocks import OWN
from trunkline.dialects.anthropic.spell import call, carried, taken, thought
from trunkline.dialects.anthropic.stream import Head, closing
from trunkline.fold import Fold
from trunkline.types import (
    AnyPart,
    Audio,
    Finish,
    Frame,
    Refusal,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageReport,
)

Json = dict[str, Any]


def body_of(frames: Sequence[Frame], head: Head) -> bytes:
    """Return the whole answer."""
    fold = Fold()
    finish: Finish | None = None
    usage: Usage | None = None
    for event in (event for frame in frames for event in frame.events):
        if isinstance(event, Started):
            head.id, head.model = event.id or head.id, event.model or head.model
        elif isinstance(event, UsageReport):
            usage = event.usage
        elif isinstance(event, Finish):
            finish = event if event.choice == 0 else finish
        else:
            fold.add(event)
    parts = fold.message().parts
    refused = any(isinstance(part, Refusal) for part in parts)
    content = [block for part in parts for block in _blocks(part)]
    return dump(head.message(usage, content=content, **closing(finish, refused=refused)))


def _blocks(part: AnyPart) -> Iterable[Json]:
    if isinstance(part, Text) and OWN in part.extra:
        yield part.extra[OWN]
    elif isinstance(part, Text | Refusal):
        if part.text:
            yield {"type": "text", "text": part.text} | taken("text", part.extra)
    elif isinstance(part, Thinking):
        yield thought(part)
    elif isinstance(part, ToolCall):
        yield call(part) | carried(part.extra)
    elif isinstance(part, Audio) and part.transcript:
        yield {"type": "text", "text": part.transcript}
