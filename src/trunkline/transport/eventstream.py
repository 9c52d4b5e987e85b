"""AWS event streams: cut a byte stream into whole messages, and check what guards them.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html 2026-11-20
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from trunkline.errors import BadAnswer, Truncated
from trunkline.transport.sse import MAX_EVENT_BYTES

_PRELUDE = Struct(">III")
"""Sizes of the message and of its headers, and the CRC-32 of these eight bytes."""
_CHECK = Struct(">I")
_LEAST_BYTES = _PRELUDE.size + _CHECK.size


class MessageSplitter:
    """Cuts at the sizes that messages say; a message that was changed on its way is an error."""

    __slots__ = ("_held", "_max_bytes")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._held = bytearray()
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take more bytes and return the messages that are complete now, framing included.

        Raises:
            BadAnswer: a checksum or a size is wrong.
        """
        held = self._held
        held += chunk
        messages: list[bytes] = []
        start = 0
        while len(held) - start >= _PRELUDE.size:
            end = start + self._size_bytes(start)
            if end > len(held):
                break
            message = bytes(held[start:end])
            if crc32(message[: -_CHECK.size]) != _CHECK.unpack_from(message, -_CHECK.size)[0]:
                raise BadAnswer("a message of the stream was changed on its way: wrong checksum")
            messages.append(message)
            start = end
        del held[:start]
        return messages

    def rest(self) -> bytes:
        """Return nothing: no message may be cut short.

        Raises:
            Truncated: the last one was.
        """
        if self._held:
            raise Truncated("the answer stopped in the middle of a message")
        return b""

    def _size_bytes(self, start: int) -> int:
        """Return how large the message is that begins at `start`."""
        size, headers_size, check = _PRELUDE.unpack_from(self._held, start)
        if crc32(self._held[start : start + _PRELUDE.size - _CHECK.size]) != check:
            raise BadAnswer("the stream is no AWS event stream, or was changed: wrong checksum")
        if not _LEAST_BYTES + headers_size <= size <= self._max_bytes:
            raise BadAnswer(f"a message of the stream says that it has {size} bytes")
        return int(size)
