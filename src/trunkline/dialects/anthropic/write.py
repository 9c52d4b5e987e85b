"""Answer a caller: relay frames of this dialect byte by byte, spell those of any other."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.codec import BLANKS, SEAM_START, unframed
from trunkline.dialects.anthropic.body import body_of
from trunkline.dialects.anthropic.stream import Head, Stream, event
from trunkline.errors import TrunklineError
from trunkline.types import Chat, Cost, Frame, Mark


class _Kind(Struct):
    type: str = ""


_KIND = Decoder(_Kind)
_OF_BLOCKS = (b"event: content_block_", b"event:content_block_")


def write(chat: Chat, source: str) -> Writer:
    """Prepare to answer `chat` with frames that came in the dialect `source`."""
    return Writer(chat, relayed=source == "anthropic")


class Writer:
    """Gives one answer to a caller.

    Relayed frames keep their bytes, with two edits: an event without a name is given its own, for
    the SDKs pass over it, and a stream that ends without `message_stop` is given one.
    """

    def __init__(self, chat: Chat, *, relayed: bool) -> None:
        self._chat = chat
        self._relayed = relayed
        self._head = Head.of(chat)
        self._stream = Stream(self._head)
        self._begun = False
        self._stopped = False
        self._block = b""
        """The last event of a block that was relayed."""

    def frame(self, frame: Frame) -> bytes:
        """Return the bytes to send for one frame of a stream; may be empty."""
        if frame.raw.startswith(SEAM_START):
            return frame.raw
        if frame.events if not frame.raw else frame.mark & Mark.TERMINAL and _is_whole(frame):
            # No bytes to relay, or a whole body instead of a stream, or the stream was cut.
            if self._relayed and self._begun:
                self._stream.follow(self._block)
            self._relayed = False
        sent = self._relay(frame) if self._relayed else self._stream.of(frame.events)
        self._begun = self._begun or bool(sent)
        return sent

    def end(self, cost: Cost) -> bytes:
        """Return what closes a stream after its last frame; may be empty."""
        if not self._relayed:
            return self._stream.end()
        return b"" if self._stopped else event("message_stop")

    def whole(self, frames: Sequence[Frame], cost: Cost) -> bytes:
        """Return the whole answer as one body, from all its frames."""
        told = [frame for frame in frames if frame.raw]
        if self._relayed and len(told) == 1 and _is_whole(told[0]):
            return told[0].raw
        return body_of(frames, self._head)

    def error(self, error: TrunklineError) -> bytes:
        """Return an error: a body when nothing was written yet, else the stream's error event."""
        usual = "api_error" if error.status >= 500 else "invalid_request_error"
        kind = _ERROR_TYPES.get(error.status, usual)
        said: dict[str, object] = {"type": kind, "message": error.message, "code": error.code}
        if error.param in _DETAILS:
            said["details"] = {"error_code": _DETAILS[error.param]}
        fields = {
            "error": said,
            "request_id": error.call_id or self._chat.id or None,
        }
        return event("error", **fields) if self._begun else dump({"type": "error", **fields})

    def _relay(self, frame: Frame) -> bytes:
        raw = frame.raw
        if raw.startswith(b"event:"):
            if raw.startswith(_OF_BLOCKS):
                self._block = raw
            self._stopped = self._stopped or bool(frame.mark & Mark.TERMINAL)
            return raw
        name, payload = unframed(raw)
        if not payload:
            return raw  # a comment, or nothing
        if payload == b"[DONE]":
            return b""
        if b"content_block_" in raw:
            self._block = raw
        self._stopped = self._stopped or bool(frame.mark & Mark.TERMINAL)
        return raw if name else b"event: %b\n%b" % (_KIND.decode(payload).type.encode(), raw)


_DETAILS: dict[str | None, str] = {"thread": "thread_unsupported_request"}
"""Fields at fault -> the code that makes the SDKs' helpers go on without."""
_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _is_whole(frame: Frame) -> bool:
    return frame.raw.lstrip(BLANKS).startswith(b"{")
