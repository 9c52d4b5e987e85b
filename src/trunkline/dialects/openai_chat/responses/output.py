"""The items of an answer that we spell, each from its first event to its last.

Every change to an item is an event for the stream, so the whole answer is the sum of its deltas.
Source: https://platform.openai.com/docs/api-reference/responses-streaming 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
Told = tuple[str, Json]
"""An event: its type without `response.`, and what it says."""


class Item:
    """One item of the output under way."""

    def __init__(self, number: int, fields: Json) -> None:
        self.number = number
        self.fields = fields

    @property
    def place(self) -> Json:
        """Return what each event says of where it belongs."""
        return {"item_id": self.fields["id"], "output_index": self.number}

    def added(self) -> Iterator[Told]:
        """Begin."""
        yield "output_item.added", {"output_index": self.number, "item": _copy(self.fields)}

    def done(self) -> Iterator[Told]:
        """End."""
        if self.fields.get("status") == "in_progress":
            self.fields["status"] = "completed"
        yield "output_item.done", {"output_index": self.number, "item": _copy(self.fields)}


class Said(Item):
    """Words of the model: parts of text and of refusal."""

    def __init__(self, number: int, id_: str, phase: str | None) -> None:
        fields: Json = {"id": id_, "type": "message", "status": "in_progress"}
        fields |= {"role": "assistant", "content": []} | ({"phase": phase} if phase else {})
        super().__init__(number, fields)
        self.block: int | None = None
        self._open: Json | None = None

    def text(self, words: str, block: int | None) -> Iterator[Told]:
        """Say more; another `block` is another part."""
        yield from self.enter("output_text", block)
        assert self._open is not None
        self._open["text"] += words
        yield "output_text.delta", self._at | {"delta": words, "logprobs": []}

    def refusal(self, words: str) -> Iterator[Told]:
        """Refuse with more words."""
        yield from self.enter("refusal", None)
        assert self._open is not None
        self._open["refusal"] += words
        yield "refusal.delta", self._at | {"delta": words}

    def cite(self, annotation: Json, block: int | None) -> Iterator[Told]:
        """Name a source of the text."""
        yield from self.enter("output_text", block)
        assert self._open is not None
        notes = self._open["annotations"]
        if annotation in notes:
            return
        notes.append(annotation)
        told = {"annotation": annotation, "annotation_index": len(notes) - 1}
        yield "output_text.annotation.added", self._at | told

    def done(self) -> Iterator[Told]:
        """End its last part, and then itself."""
        yield from self._leave()
        yield from super().done()

    @property
    def length(self) -> int:
        """How many characters the open part has."""
        return len(self._open["text"]) if self._open and "text" in self._open else 0

    @property
    def _at(self) -> Json:
        return self.place | {"content_index": len(self.fields["content"]) - 1}

    def enter(self, kind: str, block: int | None) -> Iterator[Told]:
        """Go on in the open part if it is of this kind and number, else begin another."""
        if self._open is not None:
            if self._open["type"] == kind and block in {None, self.block}:
                return
            yield from self._leave()
        part: Json = {"type": kind, "refusal": ""}
        if kind == "output_text":
            part = {"type": kind, "text": "", "annotations": [], "logprobs": []}
        self.block, self._open = block, part
        self.fields["content"].append(part)
        yield "content_part.added", self._at | {"part": _copy(part)}

    def _leave(self) -> Iterator[Told]:
        part, self._open = self._open, None
        if part is None:
            return
        if part["type"] == "output_text":
            yield "output_text.done", self._at | {"text": part["text"], "logprobs": []}
        else:
            yield "refusal.done", self._at | {"refusal": part["refusal"]}
        yield "content_part.done", self._at | {"part": _copy(part)}


class Thought(Item):
    """A thought: what can be read of it is its summary."""

    def __init__(self, number: int, id_: str, block: int | None) -> None:
        super().__init__(number, {"id": id_, "type": "reasoning", "summary": []})
        self.block = block

    def text(self, words: str) -> Iterator[Told]:
        """Think more."""
        summary: list[Json] = self.fields["summary"]
        at = self.place | {"summary_index": 0}
        if not summary:
            summary.append({"type": "summary_text", "text": ""})
            yield "reasoning_summary_part.added", at | {"part": _copy(summary[0])}
        summary[0]["text"] += words
        yield "reasoning_summary_text.delta", at | {"delta": words}

    def done(self) -> Iterator[Told]:
        """End its summary, and then itself."""
        at = self.place | {"summary_index": 0}
        for part in self.fields["summary"]:
            yield "reasoning_summary_text.done", at | {"text": part["text"]}
            yield "reasoning_summary_part.done", at | {"part": _copy(part)}
        yield from super().done()


class Called(Item):
    """A call of a tool."""

    def __init__(self, number: int, id_: str, call: Json, *, custom: bool) -> None:
        self._field = "input" if custom else "arguments"
        self._event = "custom_tool_call_input" if custom else "function_call_arguments"
        kind = "custom_tool_call" if custom else "function_call"
        fields: Json = {"id": id_, "type": kind, "status": "in_progress", **call, self._field: ""}
        if custom:
            del fields["status"]  # these have none
        super().__init__(number, fields)

    def text(self, piece: str) -> Iterator[Told]:
        """Add a piece of the arguments."""
        if piece:
            self.fields[self._field] += piece
            yield f"{self._event}.delta", self.place | {"delta": piece}

    def done(self) -> Iterator[Told]:
        """End the arguments, and then itself; a function without any is given an object."""
        if self._field == "arguments" and self.fields["arguments"].strip() in {"", "null"}:
            self.fields["arguments"] = "{}"
        told: Json = {self._field: self.fields[self._field]}
        if self._field == "arguments":
            told["name"] = self.fields["name"]
        yield f"{self._event}.done", self.place | told
        yield from super().done()


def _copy(fields: Json) -> Json:
    """Return an item or a part as it is now."""
    copied = dict(fields)
    for name in ("content", "summary", "annotations"):
        if name in copied:
            copied[name] = [dict(part) for part in copied[name]]
    return copied
