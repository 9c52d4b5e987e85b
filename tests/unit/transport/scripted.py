"""Parts of the transport that do as they are told, for tests without a socket."""

import asyncio
from collections import deque
from collections.abc import Mapping

from trunkline.errors import ProviderError
from trunkline.transport.connection import Connection


class ScriptedExchange:
    """Hands out its pieces; an error among them is raised, an empty piece ends the body."""

    reused = False
    heard = True

    def __init__(
        self,
        *pieces: bytes | ProviderError,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        ended: bool = True,
        spent: bool = False,
    ) -> None:
        self.pieces = deque(pieces)
        self.status = status
        self.headers = headers or {}
        self.ended = ended
        self.spent = spent
        self.failure: asyncio.Future[bytes] | None = None
        self.failed: ProviderError | None = None
        self.closed = 0

    async def start(self) -> None:
        """Do nothing: the head is there."""

    async def read(self) -> bytes:
        """Return the next piece, or wait for `fail` when there is none."""
        if not self.pieces:
            self.failure = asyncio.get_running_loop().create_future()
            return await self.failure
        piece = self.pieces.popleft()
        if isinstance(piece, ProviderError):
            raise piece
        return piece

    def fail(self, error: ProviderError) -> None:
        """Break off."""
        self.failed = error
        if self.failure is not None:
            self.failure.set_exception(error)

    def close(self) -> None:
        """Count the calls."""
        self.closed += 1


class ScriptedTransport(asyncio.Transport):
    """Stands in for the loop's side of a connection: keeps what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent_bytes = 0
        self.reading = True
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Tell whether it was aborted."""
        return self.aborted

    def get_write_buffer_size(self) -> int:
        """Return what the test set."""
        return self.unsent_bytes

    def pause_reading(self) -> None:
        """Note it."""
        self.reading = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reading = True

    def abort(self) -> None:
        """Note it."""
        self.aborted = True


class ScriptedKeeper:
    """Keeps what becomes of connections."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def made(self, connection: Connection) -> None:
        """Note it."""
        self.log.append("made")

    def free(self, connection: Connection) -> None:
        """Note it."""
        self.log.append("free")

    def lost(self, connection: Connection) -> None:
        """Note it."""
        self.log.append("lost")
