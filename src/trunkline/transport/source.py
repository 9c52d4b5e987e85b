"""The frames of one answer, read off an exchange: a `Source` for a `Reply`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from trunkline.dialects import Dialect
from trunkline.errors import AnswerTooLarge, AuthFailed, BadAnswer, ProviderError, Truncated
from trunkline.observability.redact import scrub
from trunkline.transport.framing import SPLITTERS, Splitter, is_stream
from trunkline.transport.port import Exchange
from trunkline.transport.watch import Watch
from trunkline.types import Deployment, Frame, Mark, Memo

MAX_BODY_BYTES = 64 * 1024 * 1024

_SAID = Mark.SHOWN | Mark.FINISH
_TERMINAL = Mark.TERMINAL
_BEGUN = _SAID | _TERMINAL


class WireSource:
    """Cuts a body into blocks and has the dialect make a frame of each."""

    _splitter: Splitter
    _blocks: Iterator[bytes]
    _ended = False

    def __init__(
        self,
        exchange: Exchange,
        watch: Watch,
        dialect: Dialect,
        deployment: Deployment,
        wanted: int = 0,
    ) -> None:
        """`wanted` is the number of choices or vectors that were asked for; 0 = not known."""
        self._exchange = exchange
        self._watch = watch
        self._dialect = dialect
        self._deployment = deployment
        self._memo = Memo(deployment.quirks, wanted)

    async def begin(self) -> list[Frame]:
        """Read up to the first frame that means something, and return all so far.

        Raises:
            ProviderError: the answer fails before it shows anything.
        """
        first = await self._exchange.read()
        if not first.strip():
            first = await self._read_past_blanks(first)
        framing = self._dialect.FRAMING
        if not is_stream(framing, first, self._exchange.headers.get("content-type", "")):
            if not self._exchange.spent:
                first = await self._read_on(first)
            self.close()  # it was read to its end, so the connection may serve another call now
            return [self._dialect.decode(first, self._memo)]
        self._splitter = SPLITTERS[framing]()
        self._blocks = iter(self._splitter.feed(first))
        frames: list[Frame] = []
        while not frames or not frames[-1].mark & _BEGUN:
            frame = await self.next()
            if frame is None:
                raise Truncated("the answer stopped before its end")
            frames.append(frame)
        if not frames[-1].mark & _SAID:
            raise BadAnswer("the answer is empty: it ended before it said anything")
        if self._exchange.ended:
            self._watch.stop()  # all is here, nothing more is waited for
        else:
            self._watch.begin()
        return frames

    async def next(self) -> Frame | None:
        """Return the next frame, None when the body ended without an end of the answer."""
        try:
            while True:
                for block in self._blocks:
                    frame = self._dialect.decode_frame(block, self._memo)
                    if frame.mark & _TERMINAL:
                        await self._catch_end()
                    return frame
                if self._ended:
                    # Not every provider says [DONE]: a finish reason and the end of the body do.
                    return Frame(b"", Mark.TERMINAL, events=()) if self._memo.finished else None
                self._watch.waiting_s = self._watch.now_s()
                chunk = await self._exchange.read()
                self._watch.waiting_s = None
                self._blocks = iter(self._splitter.feed(chunk) if chunk else self._end())
        except ProviderError as error:
            name_blame(error, self._deployment)
            raise

    def close(self) -> None:
        """Let go of the wire at once."""
        self._watch.stop()
        self._exchange.close()

    async def wait_closed(self) -> None:
        """Return: `close` leaves nothing to finish."""

    def _end(self) -> list[bytes]:
        """Return the last event of the body, which may lack its blank line."""
        self._ended = True
        last = self._splitter.rest()
        return [last] if last.strip() else []

    async def _catch_end(self) -> None:
        """Let the end of the body in, if it is here already, so that the connection can serve on.

        It mostly comes in the packet of the last event. Where it comes in the next one, two turns
        of the loop read what the kernel has; nobody waits for more.
        """
        for _ in range(2):
            if self._exchange.ended:
                return
            await asyncio.sleep(0)

    async def _read_on(self, first: bytes) -> bytes:
        """Return the whole body that begins with `first`."""
        if not self._exchange.ended:
            self._watch.begin()
        return await read_body(self._exchange, self._watch, first)

    async def _read_past_blanks(self, first: bytes) -> bytes:
        """Return the first bytes that tell what the body is, with the blanks before them."""
        chunk = first
        while chunk and not first.strip():
            if len(first) > MAX_BODY_BYTES:
                raise BadAnswer("the answer is nothing but blanks")
            chunk = await self._exchange.read()
            first += chunk
        if not chunk:
            raise BadAnswer("the answer is empty", upstream_status=self._exchange.status)
        return first


async def read_body(
    exchange: Exchange, watch: Watch, first: bytes = b"", max_bytes: int = MAX_BODY_BYTES
) -> bytes:
    """Return the rest of a body, with what was read of it already in front.

    Raises:
        AnswerTooLarge: it is larger than `max_bytes`.
    """
    pieces, size = [first], len(first)
    while size <= max_bytes:
        watch.waiting_s = watch.now_s()
        chunk = await exchange.read()
        watch.waiting_s = None
        if not chunk:
            return b"".join(pieces)
        pieces.append(chunk)
        size += len(chunk)
    raise AnswerTooLarge(f"the answer is larger than {max_bytes} bytes; ask for less at once")


def name_blame(error: ProviderError, deployment: Deployment) -> None:
    """Say who failed, and take credentials out of the text before it leaves the transport.

    `str(error)`, what a traceback shows, begins with the deployment; `message` does not.
    """
    error.deployment = deployment.name
    if isinstance(error, AuthFailed):
        error.message = (
            f"{deployment.provider} did not accept our credential; check {deployment.key_place}"
        )
    else:
        error.message = scrub(error.message)
    error.param = error.param and scrub(error.param, 200)
    error.upstream_code = error.upstream_code and scrub(error.upstream_code, 200)
    error.args = (f"{deployment.name}: {error.message}",)
