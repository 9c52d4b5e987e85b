"""Bodies that came compressed although we asked for none, decompressed piece by piece."""

from __future__ import annotations

import zlib

from trunkline.errors import BadAnswer, Truncated

PIECE_BYTES = 256 * 1024
"""The most that one step yields: a small body may stand for a very large one."""

_GZIP_BITS = 16 + zlib.MAX_WBITS


class Inflater:
    """Undoes one coding, gzip or deflate, of a body; any other fails when there is a body.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1 (2026-11-20)
    """

    __slots__ = ("_coding", "_held", "_stream")

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._held = b""
        """Compressed bytes that wait for their turn."""
        self._stream: zlib._Decompress | None = None

    def put(self, data: bytes) -> None:
        """Take more of the compressed body."""
        self._held += data

    def take(self) -> bytes:
        """Return the next piece; empty when more has to be put in first.

        Raises:
            BadAnswer: the body is not what its coding says, or we do not know the coding.
        """
        stream = self._stream
        while True:
            if stream is None or stream.eof:  # gzip may come in several members
                if not self._held:
                    return b""
                stream = self._stream = zlib.decompressobj(self._window_bits())
            try:
                # Also with nothing held: the last step may have been cut at its limit.
                piece = stream.decompress(self._held, PIECE_BYTES)
            except zlib.error as error:
                raise BadAnswer(
                    f"the body of the answer is not valid HTTP: it is no {self._coding}"
                ) from error
            self._held = stream.unused_data if stream.eof else stream.unconsumed_tail
            if piece or not self._held:
                return piece

    def finish(self) -> None:
        """Take note that nothing more comes.

        Raises:
            Truncated: the compressed body stopped in the middle.
        """
        if self._stream is not None and not self._stream.eof:
            raise Truncated("the answer stopped before its end")

    def _window_bits(self) -> int:
        if self._coding in {"gzip", "x-gzip"}:
            return _GZIP_BITS
        if self._coding != "deflate":
            raise BadAnswer(f"the answer is encoded as {self._coding!r}, nobody asked for that")
        # Some servers send a bare stream under that name; the zlib format begins with an 8.
        return zlib.MAX_WBITS if self._held[0] & 0x0F == 8 else -zlib.MAX_WBITS
