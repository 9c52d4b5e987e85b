"""An exchange that plays pieces of a body, for tests without a socket."""

import asyncio
from collections import deque
from collections.abc import Mapping

from trunkline.errors import ProviderError


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
    ) -> None:
        self.pieces = deque(pieces)
        self.status = status
        self.headers = headers or {}
        self.ended = ended
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
