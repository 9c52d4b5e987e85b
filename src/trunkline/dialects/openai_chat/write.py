"""Answer a caller: relay frames of this dialect byte by byte, spell those of any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BLANKS, SEAM_START, unframed
from trunkline.dialects.openai_chat.body import body_of
from trunkline.dialects.openai_chat.chunks import DONE, Chunks, Head
from trunkline.dialects.openai_chat.usage import spelled_cost
from trunkline.errors import TrunklineError
from trunkline.types import Chat, Cost, Frame, Mark, Wire

_FIELDS = Decoder(dict[str, Raw])
_TELLING = Mark.SHOWN | Mark.USAGE | Mark.TERMINAL


class Spelling(NamedTuple):
    """What tells answers of one dialect of this family from those of another."""

    dialect: str
    id_prefix: str
    chunks: type[Chunks]
    body_of: Callable[[Sequence[Frame], Head, Cost | None], bytes]


_CHAT = Spelling("openai_chat", "chatcmpl", Chunks, body_of)


def write(chat: Chat, source: str) -> Writer:
    """Prepare to answer `chat` with frames that came in the dialect `source`."""
    return Writer(chat, source, _CHAT)


class Writer:
    """Gives one answer to a caller.

    Relayed frames keep their bytes, except that usage nobody asked for is taken out, and that the
    last usage gains the cost where usage was asked for. The cost is known only at the end, so that
    usage frame waits for `end`.
    """

    def __init__(self, chat: Chat, source: str, spelling: Spelling) -> None:
        self._chat = chat
        self._spelling = spelling
        self._relayed = source == spelling.dialect
        self._usage_asked = _asks_usage(chat, spelling.dialect)
        self._held = b""
        """A usage frame that waits for the cost."""
        self._done = b""
        self._begun = False
        self._shown = b""
        """The last frame of plain words that was relayed."""

    def frame(self, frame: Frame) -> bytes:
        """Return the bytes to send for one frame of a stream; may be empty."""
        if self._relayed and frame.mark & _TELLING == Mark.SHOWN and frame.raw and not self._held:
            self._shown = frame.raw
            return frame.raw
        sent = self._edited(frame)
        self._begun = self._begun or bool(sent)
        return sent

    def end(self, cost: Cost) -> bytes:
        """Return what closes a stream after its last frame; may be empty."""
        if not self._relayed:
            return self._chunks.end(cost)
        held = self._held
        if held:
            held = _event(_with_cost(_FIELDS.decode(unframed(held)[1]), cost))
        return held + (self._done or DONE)

    def whole(self, frames: Sequence[Frame], cost: Cost) -> bytes:
        """Return the whole answer as one body, from all its frames."""
        told = [frame for frame in frames if frame.raw]
        if self._relayed and len(told) == 1 and _is_whole(told[0]):
            body = told[0].raw
            if not self._usage_asked:
                return body
            return dump(_with_cost(_FIELDS.decode(body.lstrip(BLANKS)), cost))
        return self._spelling.body_of(frames, self._head(), cost if self._usage_asked else None)

    def error(self, error: TrunklineError) -> bytes:
        """Return an error: a body when nothing was written yet, else the stream's error event."""
        body = error_of(error)
        return _event(body) if self._begun or self._shown else dump(body)

    @cached_property
    def _chunks(self) -> Chunks:
        """What spells a stream that cannot be relayed, or not to its end."""
        head, begun = self._head(), 0
        if self._shown:
            head.follow(self._shown)
            begun = self._chat.body.choices
        return self._spelling.chunks(head, usage_asked=self._usage_asked, begun=begun)

    def _head(self) -> Head:
        return Head.of(self._chat, self._spelling.id_prefix)

    def _edited(self, frame: Frame) -> bytes:
        if frame.raw.startswith(SEAM_START):
            return frame.raw
        if frame.events if not frame.raw else frame.mark & Mark.TERMINAL and _is_whole(frame):
            # No bytes to relay, or a whole body instead of a stream, or the stream was cut.
            self._relayed = False
        if not frame.raw and not frame.events:
            return b""
        if not self._relayed:
            return self._chunks.of(frame.events)
        if frame.mark & Mark.TERMINAL:
            self._done = frame.raw
            return b""
        if frame.mark & Mark.SHOWN:
            self._shown = frame.raw
        before, self._held = self._held, b""
        return before + (self._usage(frame) if frame.mark & Mark.USAGE else frame.raw)

    def _usage(self, frame: Frame) -> bytes:
        """Relay a frame that carries usage, or keep it for the cost."""
        fields = _FIELDS.decode(unframed(frame.raw)[1])
        if "usage" not in fields:  # Groq says it under x_groq only
            return frame.raw
        if self._usage_asked:
            if frame.mark & Mark.FINISH or not frame.mark & Mark.SHOWN:
                self._held = frame.raw
                return b""
            return frame.raw
        if bytes(fields.get("choices", b"[]")) == b"[]":
            return b""
        return _event({name: raw for name, raw in fields.items() if name != "usage"})


_ERROR_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


def type_of(status: int) -> str:
    """Return the type of an error with this HTTP status."""
    usual = "server_error" if status >= 500 else "invalid_request_error"
    return _ERROR_TYPES.get(status, usual)


def error_of(error: TrunklineError) -> dict[str, object]:
    """Return the body that says an error."""
    said = {
        "message": error.message,
        "type": type_of(error.status),
        "code": error.code,
        "param": error.param,
    }
    return {"error": said}


def _asks_usage(chat: Chat, dialect: str) -> bool:
    """Whether the caller wants to be told of usage in a stream, and with it of the cost."""
    if isinstance(chat.body, Wire):
        if chat.body.dialect != dialect or "stream_options" not in chat.body.fields:
            return False
        options = load(chat.body.fields["stream_options"])
    else:
        options = chat.body.extra.get("stream_options") or {}
    return options.get("include_usage") is True


def _is_whole(frame: Frame) -> bool:
    return frame.raw.lstrip(BLANKS).startswith(b"{")


def _with_cost(fields: dict[str, Raw], cost: Cost) -> dict[str, Raw]:
    """Add the cost to the usage object, whose own bytes stay as they are."""
    usage = bytes(fields.get("usage", b"null"))
    if usage == b"null":
        return fields
    said = usage[:-1].rstrip()
    comma = b"" if said.endswith(b"{") else b","
    extension = b'%b"trunkline":%b}' % (comma, dump(spelled_cost(cost)))
    return fields | {"usage": Raw(said + extension)}


def _event(data: object) -> bytes:
    return b"data: %b\n\n" % dump(data)
