"""Answer a caller: relay frames of this dialect byte by byte, spell those of any other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.codec import BLANKS, unframed
from trunkline.dialects.openai_chat.responses.body import Head
from trunkline.dialects.openai_chat.responses.stream import Stream
from trunkline.dialects.openai_chat.write import type_of
from trunkline.errors import TrunklineError
from trunkline.types import Chat, Cost, Frame, Mark


class _Kind(Struct):
    type: str = ""


class _Added(Struct):
    item: dict[str, Any]


_KIND = Decoder(_Kind)
_ADDED = Decoder(_Added)
_ADDS = b'"response.output_item.added"'
_SEQUENCE = re.compile(rb'"sequence_number": ?(\d+)')


def write(chat: Chat, source: str) -> Writer:
    """Prepare to answer `chat` with frames that came in the dialect `source`."""
    return Writer(chat, relayed=source == "openai_responses")


class Writer:
    """Gives one answer to a caller.

    Relayed frames keep their bytes, with one edit: an event without a name is given its own. They
    are kept until the end, because a stream that is cut must end with the whole response.
    """

    def __init__(self, chat: Chat, *, relayed: bool) -> None:
        self._relayed = relayed
        self._stream = Stream(Head.of(chat), chat.id)
        self._begun = False
        self._past: list[Frame] = []

    def frame(self, frame: Frame) -> bytes:
        """Return the bytes to send for one frame of a stream; may be empty."""
        if frame.events if not frame.raw else frame.mark & Mark.TERMINAL and _is_whole(frame):
            # No bytes to relay, or a whole body instead of a stream, or the stream was cut.
            self._go_on()
        sent = self._relay(frame) if self._relayed else self._stream.of(frame.events)
        self._begun = self._begun or bool(sent)
        return sent

    def end(self, cost: Cost) -> bytes:
        """Return what closes a stream after its last frame; may be empty."""
        return b"" if self._relayed else self._stream.end()

    def whole(self, frames: Sequence[Frame], cost: Cost) -> bytes:
        """Return the whole answer as one body, from all its frames."""
        told = [frame for frame in frames if frame.raw]
        if self._relayed and len(told) == 1 and _is_whole(told[0]):
            return told[0].raw
        self._past = [*frames] if self._relayed else []
        self._go_on()
        for frame in () if self._past else frames:
            self._stream.of(frame.events)
        return dump(self._stream.whole())

    def error(self, error: TrunklineError) -> bytes:
        """Return an error: a body when nothing was written yet, else the stream's error event."""
        said = {
            "message": error.message,
            "type": type_of(error.status),
            "code": error.code,
            "param": error.param,
        }
        if not self._begun:
            return dump({"error": said})
        self._go_on()
        return self._stream.failure(said)

    def _go_on(self) -> None:
        """Spell from here on what was relayed so far."""
        if self._relayed and self._past:
            said = b"".join(frame.raw for frame in self._past)
            numbers = [int(number) for number in _SEQUENCE.findall(said)]
            begun = [unframed(frame.raw)[1] for frame in self._past if _ADDS in frame.raw]
            ids = [str(_ADDED.decode(data).item.get("id") or "") for data in begun]
            self._stream.follow(self._past, ids, max(numbers, default=-1) + 1)
        self._relayed = False

    def _relay(self, frame: Frame) -> bytes:
        raw = frame.raw
        if raw.startswith(b"event:"):
            self._past.append(frame)
            return raw
        name, payload = unframed(raw)
        if not payload:
            return raw  # a comment, or nothing
        if payload == b"[DONE]":
            return b""
        self._past.append(frame)
        return raw if name else b"event: %b\n%b" % (_KIND.decode(payload).type.encode(), raw)


def _is_whole(frame: Frame) -> bool:
    return frame.raw.lstrip(BLANKS).startswith(b"{")
