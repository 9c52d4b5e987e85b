"""Server-sent events: cut a byte stream into whole events without decoding or changing a byte."""

from __future__ import annotations

import re

from trunkline.errors import BadAnswer

MAX_EVENT_BYTES = 16 * 1024 * 1024

# Two line ends in a row, each LF, CRLF or CR; a CR counts only once the next byte is known.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")
_BLANK_LINE_MOST_BYTES = 4


class SseSplitter:
    """Splits at blank lines and nowhere else: U+2028, U+0085 and the like are data.

    The blocks and `rest()` joined give the input, byte for byte. A CR that ends the bytes seen so
    far is held until the next byte tells whether it was half of a CRLF.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    (2026-11-20)
    """

    __slots__ = ("_held", "_max_bytes", "_searched")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._held = bytearray()
        self._searched = 0
        """No blank line begins before this place in what is held."""
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take more bytes and return the blocks that are complete now, framing included.

        Raises:
            BadAnswer: an event grew beyond all measure.
        """
        if self._held:
            self._held += chunk
            if not _has_blank_line(self._held, self._searched):
                self._hold(b"")
                return []
            chunk = bytes(self._held)
            self._held.clear()
        if chunk.find(b"\r") >= 0:  # `in` takes twice as long
            blocks, rest = _split(chunk)
        elif chunk.find(b"\n\n") == len(chunk) - 2 > 0:
            return [chunk]  # the usual case: one event per read
        else:
            *bare, rest = chunk.split(b"\n\n")
            blocks = [block + b"\n\n" for block in bare]
        if rest:
            self._hold(rest)
        return blocks

    def rest(self) -> bytes:
        """Return what is left when the stream has ended; a last event may lack its blank line."""
        rest = bytes(self._held)
        self._held.clear()
        return rest

    def _hold(self, rest: bytes) -> None:
        held = self._held
        held += rest
        self._searched = max(0, len(held) - _BLANK_LINE_MOST_BYTES + 1)
        if len(held) > self._max_bytes:
            raise BadAnswer(f"an event of the stream is larger than {self._max_bytes} bytes")


def _has_blank_line(data: bytearray, start: int) -> bool:
    if data.find(b"\r", start) < 0:
        return data.find(b"\n\n", start) >= 0
    return _BLANK_LINE.search(data, start) is not None


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    blocks, start = [], 0
    for blank in _BLANK_LINE.finditer(data):
        blocks.append(data[start : blank.end()])
        start = blank.end()
    return blocks, data[start:]
