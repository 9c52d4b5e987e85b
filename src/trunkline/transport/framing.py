"""How the body of an answer is cut into the units that a dialect decodes one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from trunkline.errors import BadAnswer
from trunkline.transport.eventstream import MessageSplitter
from trunkline.transport.sse import MAX_EVENT_BYTES, SseSplitter

Framing = Literal["sse", "ndjson", "eventstream"]


class Splitter(Protocol):
    """Cuts a byte stream into units, whose bytes it does not change."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take more bytes and return the units that are complete now, framing included.

        Raises:
            BadAnswer: a unit grew beyond all measure, or the bytes are no units.
        """

    def rest(self) -> bytes:
        """Return what is left when the stream has ended.

        Raises:
            Truncated: it is no whole unit, and a unit must be whole.
        """


class LineSplitter:
    """One JSON object per line; blank lines are left out.

    Source: https://github.com/ndjson/ndjson-spec (2026-11-20)
    """

    __slots__ = ("_held", "_max_bytes")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._held = bytearray()
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take more bytes and return the lines that are complete now, line ends included.

        Raises:
            BadAnswer: a line grew beyond all measure.
        """
        end = chunk.rfind(b"\n") + 1
        lines: list[bytes] = []
        if end:
            lines = [line + b"\n" for line in (bytes(self._held) + chunk[:end]).split(b"\n")[:-1]]
            self._held.clear()
        self._held += chunk[end:]
        if len(self._held) > self._max_bytes:
            raise BadAnswer(f"a line of the stream is larger than {self._max_bytes} bytes")
        return [line for line in lines if line.strip()]

    def rest(self) -> bytes:
        """Return what is left when the stream has ended; a last line may lack its end."""
        rest = bytes(self._held)
        self._held.clear()
        return rest


SPLITTERS: dict[Framing, Callable[[], Splitter]] = {
    "sse": SseSplitter,
    "ndjson": LineSplitter,
    "eventstream": MessageSplitter,
}


def is_stream(framing: Framing, first: bytes, content_type: str) -> bool:
    """Tell a stream from a whole body by its first bytes.

    The first byte cannot lie where content types do: no server-sent event begins like JSON or HTML,
    no JSON begins like a field of an event (data, event, id, retry, or a comment). Lines of JSON
    are read as a stream even when there is one only, unless it is no JSON at all. A message of an
    AWS event stream begins with its size, which is no more than 24 bits.
    """
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if framing == "ndjson":
        return start == b"{"
    if framing == "eventstream":
        return first[:1] == b"\x00"
    if start in b"{[<":
        return False
    return start in b"deir:" or content_type.lower().startswith("text/event-stream")
