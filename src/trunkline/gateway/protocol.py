"""uvicorn's HTTP connection, with the limits it leaves out and errors as JSON.

One object per connection; nothing here runs for a request whose head comes in one piece, except a
counter.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trunkline import dialects
from trunkline.errors import InputError
from trunkline.gateway.relay import refusal

HEAD_BYTES = 64 * 1024
HEAD_S = 30.0
STALLED_S = 60.0


class Connection(HttpToolsProtocol):
    """Closes on who sends a head too large or too slowly, and on who does not read its answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_open = False
        self._stalled: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers."""
        self._on_time()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what has come of a head since the piece in which it began."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_open and not self.transport.is_closing():
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response(f"the headers are larger than {HEAD_BYTES} bytes")
            elif self._late is None:
                self._late = self.loop.call_later(HEAD_S, self.transport.close)

    def on_message_begin(self) -> None:
        """Start to count."""
        super().on_message_begin()
        self._head_bytes = 0
        self._head_open = True

    def on_headers_complete(self) -> None:
        """Stop to count."""
        self._head_open = False
        self._on_time()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Give the caller some time to read what waits for it."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has read."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and hang up."""
        body, _ = refusal(dialects.load("openai_chat"), InputError(msg))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
