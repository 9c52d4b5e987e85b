"""The link between the supervisor and a child: a socket pair, the child's standard input.

Down it go configurations, each as its length and its bytes; up comes one byte when the child is
ready. Where it ends the child ends too, in good order: so none outlives its supervisor, whatever
became of that. The standard library only, for the supervisor has to stay small.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys

READY = b"r"
_LENGTH = struct.Struct(">I")
_FD = 0
_READ_BYTES = 65_536


def message(data: bytes) -> bytes:
    """Return `data` as it goes down the link."""
    return _LENGTH.pack(len(data)) + data


class Link:
    """The child's end."""

    def __init__(self, fd: int = _FD) -> None:
        self.fd = fd
        self.ended = False
        """The supervisor wants this child to end, or is gone."""
        self._read = bytearray()

    def hear(self) -> list[bytes]:
        """Wait for some bytes and return the messages that are whole; none when it ended."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except ConnectionError:
            data = b""
        self.ended = not data
        self._read += data
        found = []
        while (whole := self._whole()) is not None:
            found.append(whole)
        return found

    def first(self) -> bytes:
        """Wait for the first message; where the link ends before, this process does too."""
        while not (found := self.hear()):
            if self.ended:
                sys.exit()
        return found[-1]

    def tell_ready(self) -> None:
        """Tell the supervisor that this child does its work now."""
        with contextlib.suppress(ConnectionError):
            os.write(self.fd, READY)

    def _whole(self) -> bytes | None:
        start = _LENGTH.size
        if len(self._read) < start:
            return None
        end = start + _LENGTH.unpack_from(self._read)[0]
        if len(self._read) < end:
            return None
        whole = bytes(self._read[start:end])
        del self._read[:end]
        return whole
