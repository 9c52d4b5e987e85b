"""Spell an answer as a stream of response events, from events of any dialect.

Source: https://platform.openai.com/docs/api-reference/responses-streaming 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.responses.body import Head, closing
from trunkline.dialects.openai_chat.responses.encode import OURS
from trunkline.dialects.openai_chat.responses.items import CARRIED, OWN, SEAL, Sealed
from trunkline.dialects.openai_chat.responses.output import Called, Item, Said, Thought, Told
from trunkline.dialects.openai_chat.responses.spell import own_of
from trunkline.types import (
    AudioDelta,
    Event,
    Extra,
    Finish,
    Frame,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

Json = dict[str, Any]


class Stream:
    """Turns the events of one answer into the bytes of its stream.

    Calls may be under way side by side; anything else begins when all before it is done. The
    reason and the usage are said last, whenever they came.
    """

    def __init__(self, head: Head, name: str) -> None:
        """`name` makes the ids of items unique; it is the call's."""
        self._head = head
        self._name = name
        self._out: list[bytes] = []
        self._sequence = 0
        self._begun = False
        self._items: list[Item] = []
        self._open: Said | Thought | None = None
        self._calls: dict[int, _Call] = {}
        self._proof: Json = {}
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._ids: Sequence[str] = ()

    def of(self, events: Iterable[Event]) -> bytes:
        """Return what is to be sent for the events of one frame; may be empty."""
        for one in events:
            if one.choice:
                continue  # there is one answer in this API
            if isinstance(one, Started):
                if not self._begun:
                    self._head.take(one)
            elif isinstance(one, UsageReport):
                self._usage = one.usage
            elif isinstance(one, Finish):
                self._finish = one
            else:
                self._begin()
                self._say(one)
        return self._taken()

    def follow(self, frames: Iterable[Frame], ids: Sequence[str], sequence: int) -> None:
        """Go on with a stream that was begun elsewhere: with its items, their ids and numbers."""
        self._ids = ids
        for frame in frames:
            self.of(frame.events)
        self._begun, self._sequence = True, sequence

    def end(self) -> bytes:
        """Return what closes the stream."""
        status = self._close()
        self._tell(status, {"response": self._response(status)})
        return self._taken()

    def whole(self) -> Json:
        """Return the whole answer; nothing may follow."""
        return self._response(self._close())

    def failure(self, error: Json) -> bytes:
        """Return the end of a stream that fails.

        The event `error` is nested as OpenAI sends it, and flat as it documents it.
        """
        self._begin()
        flat = {name: error[name] for name in ("code", "message", "param")}
        fields = {"type": "error", "sequence_number": self._sequence, "error": error, **flat}
        self._sequence += 1
        self._out.append(b"event: error\ndata: %b\n\n" % dump(fields))
        code = "rate_limit_exceeded" if error["type"] == "rate_limit_error" else "server_error"
        told = {"code": code, "message": error["message"]}
        output = [item.fields for item in self._items]
        self._tell("failed", {"response": self._head.response("failed", output, error=told)})
        return self._taken()

    def _close(self) -> str:
        self._begin()
        self._leave()
        return closing(self._finish)[0]

    def _response(self, status: str) -> Json:
        details = closing(self._finish)[1]
        output = [item.fields for item in self._items]
        usage = self._usage or Usage()
        return self._head.response(status, output, usage, incomplete_details=details)

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _tell(self, kind: str, fields: Json) -> None:
        kind = f"response.{kind}"
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), dump(data)))

    def _told(self, events: Iterable[Told]) -> None:
        for kind, fields in events:
            self._tell(kind, fields)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            response = self._head.response("in_progress", [])
            self._tell("created", {"response": response})
            self._tell("in_progress", {"response": response})

    # --- items ------------------------------------------------------------------------------------

    def _say(self, one: Event) -> None:
        if isinstance(one, TextDelta):
            self._text(one)
        elif isinstance(one, ThinkingDelta):
            self._think(one)
        elif isinstance(one, ToolCallDelta):
            self._call(one)
        elif isinstance(one, RefusalDelta):
            self._told(self._said().refusal(one.text))
        elif isinstance(one, AudioDelta):
            if one.transcript:
                self._told(self._said().text(one.transcript, None))
        elif isinstance(one, Extra):
            self._cite(one.fields.get("annotations"), None)

    def _text(self, one: TextDelta) -> None:
        own = own_of(one.extra)
        if "type" in own:
            self._leave()
            self._enter(Item(len(self._items), {"id": self._id("item"), **own}))
            self._told(self._items[-1].done())
            return
        if phase := own.get("item", {}).get("phase"):
            self._leave()
            self._said(phase)
        if one.text:
            self._told(self._said().text(one.text, one.block))
        self._cite(own.get("part", {}).get("annotations"), one.block)
        self._cite(one.extra.get("citations"), one.block)

    def _cite(self, cited: Any, block: int | None) -> None:
        """Name sources: this API's own, those of chat completions, and Claude's."""
        for source in cited if isinstance(cited, list) else ():
            if not isinstance(source, dict):
                continue
            inner = source.get("url_citation", source)
            if isinstance(inner, dict) and isinstance(inner.get("url"), str):
                known = {
                    name: inner[name] for name in ("start_index", "end_index") if name in inner
                }
                said = self._said()
                place = {"start_index": 0, "end_index": said.length} | known
                title = inner.get("title") or inner["url"]
                note = {"type": "url_citation", "url": inner["url"], "title": title, **place}
                self._told(said.cite(note, block))

    def _said(self, phase: str | None = None) -> Said:
        """Return the open words of the model, or begin some."""
        if not isinstance(self._open, Said):
            self._leave()
            self._open = Said(len(self._items), self._id("msg"), phase)
            self._enter(self._open)
        return self._open

    def _think(self, one: ThinkingDelta) -> None:
        item = self._open
        fresh = not isinstance(item, Thought) or one.block not in {None, item.block}
        if fresh:
            if not (one.text or one.signature or one.redacted or one.extra):
                return
            self._leave()
            id_ = self._id("rs" if one.spelling == OWN else OURS[:-1])
            item = self._open = Thought(len(self._items), id_, one.block)
            self._enter(item)
        assert isinstance(item, Thought)
        if one.text:
            self._told(item.text(one.text))
        self._proof["spelling"] = one.spelling
        for name in ("signature", "redacted"):
            if (piece := getattr(one, name)) is not None:
                self._proof[name] = self._proof.get(name, "") + piece
        if self._proof.keys() > {"spelling"} and one.block is None:
            self._leave()  # a proof closes the thought; what follows is another

    def _call(self, one: ToolCallDelta) -> None:
        call = self._calls.setdefault(one.index, _Call(one.index))
        call.add(one)
        if call.item is None and call.name:
            if self._open is not None:
                self._leave_open()
            said = {"call_id": call.id, "name": call.name, **call.carried}
            custom = call.kind == "custom"
            id_ = self._id("ctc" if custom else "fc")
            call.item = Called(len(self._items), id_, said, custom=custom)
            self._enter(call.item)
        if call.item is not None:
            piece, call.text = call.text, ""
            self._told(call.item.text(piece))

    def _enter(self, item: Item) -> None:
        self._items.append(item)
        self._told(item.added())

    def _id(self, kind: str) -> str:
        number = len(self._items)
        if number < len(self._ids) and self._ids[number]:
            return self._ids[number]
        return f"{kind}_{'' if kind.endswith('tl') else 'tl_'}{self._name}_{number}"

    def _leave(self) -> None:
        """End all that is under way."""
        self._leave_open()
        for call in self._calls.values():
            if call.item is not None and not call.ended:
                call.ended = True
                self._told(call.item.done())

    def _leave_open(self) -> None:
        item, self._open = self._open, None
        proof, self._proof = self._proof, {}
        if isinstance(item, Thought):
            own = proof.pop("spelling", None)
            if own == OWN:
                item.fields["encrypted_content"] = proof.get("signature")
            elif proof:
                sealed = Sealed(spelling=own, **proof)
                item.fields["encrypted_content"] = SEAL + dump(sealed).decode()
        if item is not None:
            self._told(item.done())


class _Call:
    """A tool call under way."""

    __slots__ = ("carried", "ended", "id", "item", "kind", "name", "text")

    def __init__(self, index: int) -> None:
        self.id = f"call_{index}"
        self.name = ""
        self.kind = "function"
        self.text = ""
        """What came before its name did."""
        self.carried: Json = {}
        """What another provider wants back beside the call."""
        self.item: Called | None = None
        self.ended = False

    def add(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name = delta.name or self.name
        self.kind = delta.kind if delta.kind != "function" else self.kind
        self.text += delta.arguments
        if CARRIED in delta.extra:
            self.carried = {CARRIED: delta.extra[CARRIED]}
