"""Messages -> `contents`: turns of `user` and `model`, and their parts.

Source: https://ai.google.dev/api/caching#Content 2026-11-20
Source: https://ai.google.dev/gemini-api/docs/function-calling 2026-11-20
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.dialects.gemini.events import OWN
from trunkline.dialects.gemini.models import Traits
from trunkline.errors import CapabilityMissing
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
Turn = tuple[str, list[Json]]
UNSIGNED = "skip_thought_signature_validator"
"""What stands for the signature of a call that this model did not make.
Source: https://ai.google.dev/gemini-api/docs/thought-signatures 2026-11-20"""
_MAGIC = {"/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


class Speller:
    """Spells the messages of one prompt for one model."""

    def __init__(self, messages: Iterable[Message], traits: Traits) -> None:
        self._messages = tuple(messages)
        self._traits = traits
        self._calls = {call.id: call for one in self._messages for call in one.tool_calls}

    def turns(self) -> tuple[list[Json], list[Turn]]:
        """Return the system's parts in their order, and turns that alternate.

        Where there is nothing but a system's words, or the model takes none, they are the user's.
        """
        system: list[Json] = []
        turns: list[Turn] = []
        for message in self._messages:
            if message.role in {"system", "developer"}:
                system += self._parts(message.parts)
                continue
            role = "model" if message.role == "assistant" else "user"
            parts = self._said(message) if role == "model" else self._parts(message.parts)
            if parts and turns and turns[-1][0] == role:
                turns[-1][1].extend(parts)
            elif parts:
                turns.append((role, parts))
        self._fit_calls(turns)
        if system and (not turns or not self._traits.system):
            if not turns or turns[0][0] != "user":
                turns.insert(0, ("user", []))
            turns[0][1][:0] = system
            system = []
        return system, turns

    def _fit_calls(self, turns: list[Turn]) -> None:
        for before, turn in zip([("", []), *turns], turns, strict=False):
            if turn[0] == "user":
                _sort_results(before[1], turn[1])
            elif self._traits.signs:
                _sign(turn[1])
        if not self._traits.ids:
            _forget_ids(part for _, parts in turns for part in parts)

    def _said(self, message: Message) -> list[Json]:
        """Spell an answer of the model, with the signature a client of OpenAI's dialect kept."""
        parts = self._parts(message.parts)
        signature = _signature(message.extra)
        texts = [part for part in parts if "text" in part and not part.get("thought")]
        if signature and texts and not any("thoughtSignature" in part for part in texts):
            texts[-1]["thoughtSignature"] = signature
        return parts

    def _parts(self, parts: Iterable[AnyPart]) -> list[Json]:
        return [wire for part in parts for wire in self._part(part)]

    def _part(self, part: AnyPart) -> Iterable[Json]:
        if isinstance(part, Text | Refusal):
            yield from _text(part)
        elif isinstance(part, Thinking):
            if part.spelling == OWN or _format(part).startswith("google-gemini"):
                signed = {"thoughtSignature": part.signature} if part.signature else {}
                yield {"text": part.text, "thought": True} | signed
        elif isinstance(part, ToolCall):
            yield _call(part)
        elif isinstance(part, ToolResult):
            yield from self._result(part)
        elif isinstance(part, Image):
            yield _media(part, "image/png")
        elif isinstance(part, File):
            yield _media(part, "application/pdf")
        else:
            yield from _sound(part)

    def _result(self, part: ToolResult) -> Iterable[Json]:
        """Spell what a tool gave back; pictures go into it from Gemini 3 on, before that behind it.

        It must be an object; words that are none become its field `output`, or `error`.
        """
        words = "".join(one.text for one in part.parts if isinstance(one, Text))
        shown = self._parts(one for one in part.parts if not isinstance(one, Text))
        call = self._calls.get(part.id)
        answer: Json = {"id": part.id, "name": call.name if call else part.id}
        said = object_in(words)
        if part.is_error:
            answer["response"] = {"error": words if said is None else said}
        else:
            answer["response"] = {"output": words} if said is None else said
        inside = self._traits.signs and all("inlineData" in one for one in shown)
        if shown and inside:
            answer["parts"] = shown
        yield {"functionResponse": answer}
        if not inside:
            yield from shown


def object_in(text: str) -> Raw | None:
    """Return `text` as it is, if it is a JSON object."""
    try:
        return Raw(text.encode()) if isinstance(load(text), dict) else None
    except (*BROKEN, UnicodeEncodeError):
        return None


def _format(part: Thinking) -> str:
    """Return whose thought came through OpenRouter's list."""
    detail = part.extra.get("reasoning_details")
    return str(detail.get("format")) if isinstance(detail, dict) else ""


def _signature(extra: Json) -> str | None:
    content = extra.get("extra_content")
    google = content.get("google") if isinstance(content, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _text(part: Text | Refusal) -> Iterable[Json]:
    own = part.extra.get(OWN)
    if isinstance(own, dict):
        yield dict(own)
        return
    signature = _signature(part.extra)
    if part.text or signature:  # words that say nothing are refused
        yield {"text": part.text} | ({"thoughtSignature": signature} if signature else {})


def _call(part: ToolCall) -> Json:
    """Spell a call; free text (OpenAI's custom tools) becomes the one field of an object."""
    arguments = object_in(part.arguments)
    args = {"input": part.arguments} if arguments is None else arguments
    wire: Json = {"functionCall": {"id": part.id, "name": part.name, "args": args}}
    signature = _signature(part.extra)
    return wire | ({"thoughtSignature": signature} if signature else {})


def _sign(parts: list[Json]) -> None:
    """Sign the first call of a turn, where its own signature did not come back to us."""
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", UNSIGNED)


def _sort_results(calls: list[Json], parts: list[Json]) -> None:
    """Put results first, in the order of their calls."""
    order = {
        part["functionCall"]["id"]: n for n, part in enumerate(calls) if "functionCall" in part
    }

    def place(part: Json) -> int:
        answer = part.get("functionResponse")
        return len(calls) + 1 if answer is None else order.get(answer["id"], len(calls))

    parts.sort(key=place)


def _forget_ids(parts: Iterable[Json]) -> None:
    """Leave out the ids, by which results were sorted; from here on only their order counts."""
    for part in parts:
        for name in ("functionCall", "functionResponse"):
            part.get(name, {}).pop("id", None)


def _media(part: Image | File, usual: str) -> Json:
    if part.data is not None:
        seen = next((kind for magic, kind in _MAGIC.items() if part.data.startswith(magic)), usual)
        return {"inlineData": {"mimeType": part.media_type or seen, "data": part.data}}
    url = part.url or (part.id if isinstance(part, File) else None) or ""
    guessed = mimetypes.guess_type(url.partition("?")[0])[0]
    return {"fileData": {"mimeType": part.media_type or guessed or usual, "fileUri": url}}


def _sound(part: Audio) -> Iterable[Json]:
    if part.data:
        yield {"inlineData": {"mimeType": f"audio/{part.format or 'wav'}", "data": part.data}}
    elif part.transcript:
        yield {"text": part.transcript}
    else:
        raise CapabilityMissing(
            "an earlier answer in sound is held by its own provider; send its transcript, or ask "
            "that one",
            param="messages",
        )
