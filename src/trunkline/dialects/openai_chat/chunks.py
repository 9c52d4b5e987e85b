"""Spell an answer as a stream of `chat.completion.chunk`s, from events of any dialect.

Source: https://platform.openai.com/docs/api-reference/chat-streaming 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BROKEN, unframed
from trunkline.dialects.openai_chat.usage import spelled
from trunkline.types import (
    AudioDelta,
    Chat,
    Cost,
    Event,
    Extra,
    Finish,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from trunkline.types.answer import BUDGET_CUT

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})
_SPELLINGS = frozenset({"reasoning_content", "reasoning"})
_FORMATS = {
    "anthropic": "anthropic-claude-v1",
    "gemini": "google-gemini-v1",
    "openai_responses": "openai-responses-v1",
}
"""Whose proof a detail is, in OpenRouter's words: nobody takes another provider's.
Source: https://openrouter.ai/docs/use-cases/reasoning-tokens 2026-11-20"""


class _Start(Struct):
    id: str = ""
    model: str = ""
    created: int = 0


class Head(Struct):
    """What every chunk and the whole body repeat about an answer."""

    id: str
    model: str
    created_s: int

    @classmethod
    def of(cls, chat: Chat, id_prefix: str) -> Head:
        """Return what is known before the provider said its own id and model."""
        return cls(
            id=f"{id_prefix}-{chat.id}",
            model=chat.target.model if chat.target else chat.model,
            created_s=chat.trail.started_ns // 1_000_000_000 if chat.trail else 0,
        )

    def take(self, event: Started) -> None:
        """Take over the provider's own id and model name."""
        self.id = event.id or self.id
        self.model = event.model or self.model

    def follow(self, chunk: bytes) -> None:
        """Take over what the provider's own chunk says, where it can be read."""
        with suppress(*BROKEN):
            start = load(unframed(chunk)[1], type=_Start)
            self.take(Started(id=start.id, model=start.model))
            self.created_s = start.created or self.created_s


def finish_of(event: Finish, known: frozenset[str] = _FINISHES) -> Json:
    """Return the finish fields of a choice.

    Clients know four reasons. Whatever is none of them (an error, a pause, an unknown word) was no
    proper end, so it is called `length`, never `stop`; the provider's word stands beside it. So
    does ours where a budget ended the answer.
    """
    if event.reason in known and event.raw != BUDGET_CUT:
        return {"finish_reason": event.reason}
    return {"finish_reason": "length", "native_finish_reason": event.raw or event.reason}


class Chunks:
    """Turns the events of one answer into the bytes of its stream."""

    KIND = b"chat.completion.chunk"

    def __init__(self, head: Head, *, usage_asked: bool, begun: int = 0) -> None:
        """`begun` is the number of choices that others began to write."""
        self._head = head
        self._usage_asked = usage_asked
        self._usage: Usage | None = None
        self._opening = b""
        self._roles = set(range(begun))
        self._calls: set[tuple[int, int]] = set()
        self._sources = 0

    def of(self, events: Iterable[Event]) -> bytes:
        """Return the chunks for the events of one frame; may be empty.

        What one frame says of one choice goes into one chunk where it fits, as it came.
        """
        out: list[bytes] = []
        choice = 0
        delta: Json = {}
        beside: Json = {}
        for event in events:
            if isinstance(event, Started):
                if not self._opening:
                    self._head.take(event)
                continue
            if isinstance(event, UsageReport):
                self._usage = event.usage
                continue
            said, aside = self._said(event)
            repeats = not delta.keys().isdisjoint(said)
            if repeats or event.choice != choice or isinstance(event, Finish):
                out.append(self._chunk(choice, delta, beside))
                choice, delta, beside = event.choice, {}, {}
            delta |= said
            beside |= aside
        out.append(self._chunk(choice, delta, beside))
        return b"".join(out)

    def end(self, cost: Cost) -> bytes:
        """Return the usage chunk, if it was asked for and is known, and the end mark."""
        if not self._usage_asked or self._usage is None:
            return DONE
        usage = dump(spelled(self._usage, cost))
        return b'%b],"usage":%b}\n\n%b' % (self._open(), usage, DONE)

    def _open(self) -> bytes:
        if not self._opening:
            head = self._head
            self._opening = b'data: {"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
                dump(head.id),
                self.KIND,
                head.created_s,
                dump(head.model),
            )
        return self._opening

    def _said(self, event: Event) -> tuple[Json, Json]:
        """Return what an event adds to the delta, and what stands beside the delta."""
        if isinstance(event, TextDelta):
            return self._words(event), {}
        if isinstance(event, ThinkingDelta):
            return thought_of(event), {}
        if isinstance(event, ToolCallDelta):
            return {"tool_calls": [self._call(event)]}, {}
        if isinstance(event, RefusalDelta):
            return {"refusal": event.text}, {}
        if isinstance(event, AudioDelta):
            names = ("id", "data", "transcript", "expires_at")
            return {"audio": {n: said for n in names if (said := getattr(event, n))}}, {}
        if isinstance(event, Finish):
            return {}, finish_of(event)
        assert isinstance(event, Extra)
        fields = dict(event.fields)
        return fields, {"logprobs": fields.pop("logprobs")} if "logprobs" in fields else {}

    def _words(self, event: TextDelta) -> Json:
        """Return words and their sources, numbered: by `index` SDKs put a list together."""
        said: Json = {"content": event.text} if event.text else {}
        if event.extra and (sources := sources_of(event.extra, self._sources)):
            self._sources += len(sources)
            said["citations"] = sources
        return said

    def _call(self, event: ToolCallDelta) -> Json:
        text = "input" if event.kind == "custom" else "arguments"
        key = (event.choice, event.index)
        if key in self._calls:
            return {"index": event.index, event.kind: {text: event.arguments}} | event.extra
        self._calls.add(key)
        return {
            "index": event.index,
            "id": event.id or f"call_{event.choice}_{event.index}",
            "type": event.kind,
            event.kind: {"name": event.name or "", text: event.arguments},
            **event.extra,
        }

    def _chunk(self, choice: int, delta: Json, beside: Json) -> bytes:
        if not delta and not beside:
            return b""
        first = b""
        if choice not in self._roles:
            self._roles.add(choice)
            first = self._chunk(choice, {"role": "assistant", "content": ""}, {})
        fields = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": None}
        usage = b',"usage":null' if self._usage_asked else b""
        return b"%b%b%b]%b}\n\n" % (first, self._open(), dump(fields | beside), usage)


def sources_of(extra: Json, first: int) -> list[Json]:
    """Return what a text says of its sources, as `citations` numbered from `first`."""
    cited = extra.get("citations")
    sources = [one for one in cited if isinstance(one, dict)] if isinstance(cited, list) else []
    return [{"index": number, **one} for number, one in enumerate(sources, first)]


def thought_of(event: ThinkingDelta) -> Json:
    """Spell a thought as `reasoning_content`, the name most clients show.

    What proves it to its own provider (a signature, hidden thought) travels in `reasoning_details`,
    the list OpenRouter made for it, and comes back in the next request.
    """
    name = event.spelling if event.spelling in _SPELLINGS else "reasoning_content"
    delta: Json = {name: event.text} if event.text else {}
    if event.redacted is not None:
        detail = {"type": "reasoning.encrypted", "data": event.redacted}
    elif event.signature is not None or event.block is not None:
        detail = {"type": "reasoning.text", "text": event.text}
        detail |= {"signature": event.signature} if event.signature is not None else {}
    else:
        return delta
    if event.spelling in _FORMATS:
        detail["format"] = _FORMATS[event.spelling]
    return delta | {"reasoning_details": [detail | {"index": event.block or 0}]}
