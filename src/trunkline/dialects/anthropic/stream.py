"""Spell an answer as a stream of Anthropic's events, from events of any dialect.

Every event has its `event:` line: the SDKs pass over those that lack it.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BROKEN, unframed
from trunkline.dialects.anthropic.blocks import OWN
from trunkline.dialects.anthropic.events import REASONS
from trunkline.dialects.anthropic.spell import carried, input_of, sealed, taken
from trunkline.dialects.anthropic.usage import spelled
from trunkline.types import (
    AudioDelta,
    Chat,
    Event,
    Finish,
    FinishReason,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

Json = dict[str, Any]
_WORDS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}


class Head(Struct):
    """What an answer says of itself."""

    id: str
    model: str

    @classmethod
    def of(cls, chat: Chat) -> Head:
        """Return what is known before the provider said its own id and model."""
        return cls(id=f"msg_{chat.id}", model=chat.target.model if chat.target else chat.model)

    def message(self, usage: Usage | None, **said: Any) -> Json:
        """Return the message object; `said` gives what is not empty yet."""
        empty: Json = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": None}
        message: Json = {"id": self.id, "type": "message", "role": "assistant", "model": self.model}
        return message | empty | said | {"usage": spelled(usage or Usage())}


def closing(finish: Finish | None, *, refused: bool) -> Json:
    """Return why an answer ended, in Anthropic's words.

    Whatever has no word there (an error, an unknown reason) was no proper end, so it is called
    `max_tokens`, never `end_turn`.
    """
    finish = finish or Finish(reason="unknown")
    word = _WORDS.get(finish.reason, "max_tokens")
    if finish.raw is not None and REASONS.get(finish.raw) == finish.reason:
        word = finish.raw
    if refused and finish.reason == "stop":
        word = "refusal"
    stops = ("stop_sequence", "stop_details")
    told = {name: finish.extra[name] for name in stops if name in finish.extra}
    return {"stop_reason": word, "stop_sequence": None} | told


def event(kind: str, **fields: Any) -> bytes:
    """Return one event."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dump({"type": kind, **fields}))


class _Place(Struct):
    type: str = ""
    index: int | None = None


class _Call:
    """A tool call under way."""

    __slots__ = ("extra", "id", "kind", "name", "sent", "text")

    def __init__(self, index: int) -> None:
        self.id = f"call_{index}"
        self.name = ""
        self.kind = "function"
        self.text = ""
        self.sent = 0
        """So many characters of the text are written."""
        self.extra: Json = {}

    def add(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name = delta.name or self.name
        self.kind = delta.kind if delta.kind != "function" else self.kind
        self.text += delta.arguments
        self.extra |= delta.extra

    def piece(self) -> str:
        """Return what can be written now: no more than an object, as the input must be one."""
        if self.kind != "function" or self.text.lstrip()[:1] != "{":
            return ""
        piece, self.sent = self.text[self.sent :], len(self.text)
        return piece

    def last_piece(self) -> str:
        """Return what is left to write when the call is whole."""
        if self.sent or self.text.strip() in {"", "null"}:
            return ""
        return dump(input_of(self.text)).decode()

    @property
    def whole(self) -> bool:
        """Whether nothing can follow."""
        try:
            load(self.text)
        except BROKEN:
            return False
        return True


class Stream:
    """Turns the events of one answer into the bytes of its stream.

    Blocks follow one another here, so a call whose pieces come while another is not whole yet waits
    for that one. The reason and the usage are said last, whenever they came.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._refused = False
        self._begun = False
        self._blocks = 0
        self._open: tuple[str, int | None] | None = None
        self._calls: dict[int, _Call] = {}
        self._waiting: list[int] = []
        self._out: list[bytes] = []

    def of(self, events: Iterable[Event]) -> bytes:
        """Return the events that say what one frame says; may be empty."""
        for one in events:
            if one.choice:
                continue  # there is no place for a second answer
            if isinstance(one, Started):
                self._head.id = one.id or self._head.id
                self._head.model = one.model or self._head.model
            elif isinstance(one, UsageReport):
                self._usage = one.usage
            elif isinstance(one, Finish):
                self._finish = one
            else:
                self._begin()
                self._say(one)
        return self._taken()

    def follow(self, raw: bytes) -> None:
        """Go on with a stream that was begun elsewhere; `raw` is its last event of a block."""
        self._begun = True
        with suppress(*BROKEN):
            place = load(unframed(raw)[1], type=_Place)
            if place.index is not None:
                self._blocks = place.index + 1
                kind = "text" if b'"text_delta"' in raw else place.type
                self._open = None if kind == "content_block_stop" else (kind, None)

    def end(self) -> bytes:
        """Return what closes the stream."""
        self._begin()
        self._close_all()
        usage = spelled(self._usage or Usage())
        said = closing(self._finish, refused=self._refused)
        self._out.append(event("message_delta", delta=said, usage=usage))
        self._out.append(event("message_stop"))
        return self._taken()

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._out.append(event("message_start", message=self._head.message(self._usage)))

    def _say(self, one: Event) -> None:
        if isinstance(one, TextDelta):
            self._text(one)
        elif isinstance(one, ThinkingDelta):
            self._think(one)
        elif isinstance(one, ToolCallDelta):
            self._call(one)
        elif isinstance(one, RefusalDelta):
            self._refused = True
            self._text(TextDelta(text=one.text))
        elif isinstance(one, AudioDelta) and one.transcript:
            self._text(TextDelta(text=one.transcript))

    def _text(self, one: TextDelta) -> None:
        if OWN in one.extra:
            self._whole(one.extra[OWN])
            return
        cited = one.extra.get("citations")
        if one.text or cited:
            self._enter("text", one.block, {"type": "text", "text": ""})
        if one.text:
            self._delta(type="text_delta", text=one.text)
        for citation in cited if isinstance(cited, list) else ():
            self._delta(type="citations_delta", citation=citation)

    def _think(self, one: ThinkingDelta) -> None:
        if one.redacted is not None:
            self._whole({"type": "redacted_thinking", "data": one.redacted})
            return
        if one.text or one.signature:
            block = {"type": "thinking", "thinking": "", "signature": ""}
            self._enter("thinking", one.block, block)
        if one.text:
            self._delta(type="thinking_delta", thinking=one.text)
        if one.signature:
            signature = sealed(one.signature, one.spelling)
            self._delta(type="signature_delta", signature=signature)
            if one.block is None:  # it closes the block; what follows is another
                self._close_all()

    def _call(self, one: ToolCallDelta) -> None:
        call = self._calls.get(one.index)
        if call is None:
            call = self._calls[one.index] = _Call(one.index)
            self._waiting.append(one.index)
        call.add(one)
        if self._open == ("tool_use", one.index):
            self._input(call.piece())
        elif self._waiting and self._waiting[0] == one.index and call.name:
            kind, number = self._open or ("", None)
            if kind != "tool_use" or (number is not None and self._calls[number].whole):
                self._enter_call(self._waiting.pop(0))

    def _enter_call(self, number: int) -> None:
        self._close()
        call = self._calls[number]
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self._start("tool_use", number, block | taken("tool_use", call.extra) | carried(call.extra))
        self._input(call.piece())

    def _input(self, piece: str) -> None:
        if piece:
            self._delta(type="input_json_delta", partial_json=piece)

    def _enter(self, kind: str, number: int | None, block: Json) -> None:
        """Go on in the open block if it is of this kind and number, else begin another."""
        if self._open is not None and self._open[0] == kind and number in {None, self._open[1]}:
            return
        self._close_all()
        self._start(kind, number, block)

    def _whole(self, block: Json) -> None:
        self._close_all()
        self._start(block["type"], None, block)
        self._close()

    def _start(self, kind: str, number: int | None, block: Json) -> None:
        self._open = (kind, number)
        index, self._blocks = self._blocks, self._blocks + 1
        self._out.append(event("content_block_start", index=index, content_block=block))

    def _delta(self, **delta: Any) -> None:
        self._out.append(event("content_block_delta", index=self._blocks - 1, delta=delta))

    def _close(self) -> None:
        if self._open is None:
            return
        kind, number = self._open
        if kind == "tool_use" and number is not None:
            self._input(self._calls[number].last_piece())
        self._open = None
        self._out.append(event("content_block_stop", index=self._blocks - 1))

    def _close_all(self) -> None:
        """Close the open block, and say the calls that waited for it."""
        while self._waiting:
            self._enter_call(self._waiting.pop(0))
        self._close()
