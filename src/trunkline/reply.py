"""The answer: a stream of frames with an end that is settled before anybody sees it.

The contract, clause by clause (`tests/unit/test_reply.py` proves each):

- A `Reply` has begun: whoever has one cannot be failed over any more.
- Tails (`on_close`) run exactly once, in the order of registration, even if one raises, and
  before the terminal frame is handed out: cost and journal are done when the caller sees the end.
- A stream that ends without a terminal frame is `Truncated`, never success; so is reading on
  after a close (`ReplyClosed`).
- `aclose()` and cancellation are safe from any task and at any await: the wire is closed first,
  then the tails run. `abort(error)` ends a reply from outside, `finish_early(frame)` as complete.
- A reply dropped without close warns and settles.

Tails are plain functions: with nothing to await, no cancellation can fall between two of them.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, Self

from trunkline.errors import ReplyClosed, Truncated, TrunklineError
from trunkline.fold import Fold
from trunkline.types import (
    Call,
    Deployment,
    Event,
    Finish,
    FinishReason,
    Frame,
    Mark,
    Message,
    Outcome,
    Started,
    Usage,
    UsageReport,
)

Tail = Callable[["Reply"], None]
# As plain ints: an operator of IntFlag costs 40 times as much, and each frame needs three.
_SHOWN = int(Mark.SHOWN)
_TOLD = int(Mark.USAGE | Mark.FINISH)
_TERMINAL = int(Mark.TERMINAL)
_CLOSED = "the reply was closed before its end"


class Source(Protocol):
    """Where frames come from: a wire, or a backend in this process."""

    async def next(self) -> Frame | None:
        """Return the next frame, None at the end.

        Raises:
            ProviderError: the provider failed in the middle of its answer.
        """

    def close(self) -> None:
        """Let go of the wire at once; safe to repeat. One not read to its end is not reused."""

    async def wait_closed(self) -> None:
        """Finish what `close` could only begin; nothing of the reply depends on it."""


class Reply:
    """Frames of one attempt's answer; an async iterator and an async context manager."""

    call: Call | None = None
    """The call this answers, as the outermost layer saw it."""
    outcome: Outcome | None = None
    """None while open."""
    error: BaseException | None = None
    """What ended it early: None when complete, and when closed without a reason."""
    usage: Usage | None = None
    """As the provider reported it, so far; None when it has not."""
    apart = False  # more was charged than `usage` says; see `UsageReport`
    finish: FinishReason | None = None
    finish_raw: str | None = None
    finished: tuple[int, ...] = ()  # the choices that have a finish reason
    upstream_id: str | None = None
    upstream_model: str | None = None
    shown_frames = 0
    shown_bytes = 0
    least_frame_bytes = 0
    """Length of the shortest shown frame: what a frame weighs around its words."""
    _reader: asyncio.Task[object] | None = None
    _interrupted = False
    _messages: dict[int, Message] | None = None
    _last: Frame | None = None  # what `finish_early` left for the reader

    def __init__(
        self,
        source: Source,
        deployment: Deployment,
        *,
        head: Iterable[Frame] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.deployment = deployment
        self.headers = headers or {}
        """The upstream's response headers, names in lower case."""
        self._source = source
        self._head = list(head)[::-1]
        self._tails: list[Tail] = [lambda reply: reply._source.close()]

    # --- for layers -------------------------------------------------------------------------

    def on_close(self, tail: Tail) -> None:
        """Run `tail(reply)` when the reply ends; at once if it has ended already."""
        if self.outcome is None:
            self._tails.append(tail)
        else:
            tail(self)

    def abort(self, error: TrunklineError) -> None:
        """End the reply from outside with `error`; whoever is reading it gets the error."""
        self.interrupt("failed", error)

    def finish_early(self, last: Frame) -> None:
        """End the reply from outside as complete; what is read next is `last`, a terminal frame.

        What was not read yet is dropped. Raises what a tail raises; the reader gets it as well.
        """
        if self.outcome is None:
            self._note(last)
            self._last = last
            self.interrupt("complete", None)

    def interrupt(self, outcome: Outcome, error: BaseException | None) -> None:
        """End the reply from outside in any way; nothing happens if it has ended already."""
        reader = self._reader if self.outcome is None else None
        if reader is not None and reader is not asyncio.current_task(reader.get_loop()):
            self._interrupted = True
            reader.cancel()
        self._end(outcome, error)

    @property
    def waiting(self) -> tuple[Frame, ...]:
        """The frames that are here and were not read yet, in order."""
        return tuple(reversed(self._head))

    # --- for readers ------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        if self.outcome is not None:
            return self._over()
        if self._head:
            return self._noted(self._head.pop())
        if self._reader is not None:
            raise RuntimeError("another task is reading this reply; only one may at a time")
        task = self._reader = asyncio.current_task()
        cancels = task.cancelling() if task is not None else 0
        frame: Frame | None = None
        failure: BaseException | None = None
        try:
            frame = await self._source.next()
        except BaseException as error:
            failure = error
        self._reader = None
        if frame is None or self.outcome is not None:
            return self._broken_off(failure, task, cancels)
        return self._noted(frame)

    def events(self, frame: Frame) -> tuple[Event, ...]:
        """Decode a frame of this reply; one that cannot be decoded is its end."""
        try:
            return frame.events
        except Exception as error:
            self._end("failed", error)
            raise

    async def message(self, choice: int = 0) -> Message:
        """Read to the end and fold the frames into one message per choice.

        Raises:
            TrunklineError: whatever ended the answer early.
            RuntimeError: frames were read before; fold those while reading them (`Fold`).
        """
        if self._messages is None:
            if self.shown_frames and self.outcome in {None, "complete"}:
                raise RuntimeError("message() needs all frames, and some were read before")
            folds: dict[int, Fold] = {}
            async for frame in self:
                for event in self.events(frame):
                    folds.setdefault(event.choice, Fold(event.choice)).add(event)
            self._messages = {number: fold.message() for number, fold in folds.items()}
        return self._messages.get(choice) or Message(role="assistant")

    def abandon(self) -> None:
        """Stop reading, from any task; `aclose` without waiting for the source to finish."""
        self.interrupt("abandoned", None)

    async def aclose(self) -> None:
        """Stop reading; safe from any task, at any time, and to repeat."""
        try:
            self.abandon()
        finally:
            await self._source.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.interrupt("cancelled", error)
        await self.aclose()

    def __del__(self) -> None:
        if self.outcome is None:
            self._end("abandoned", None)  # first, because a warning may be an error
            said = "was dropped without being closed; read it to its end or use 'async with'"
            message = f"a reply of {self.deployment.name} {said}"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    # --- inside -----------------------------------------------------------------------------

    def _noted(self, frame: Frame) -> Frame:
        """Count a frame, and end with the last one."""
        mark = frame.mark
        if mark & _SHOWN:
            size = len(frame.raw)
            if not self.shown_frames or size < self.least_frame_bytes:
                self.least_frame_bytes = size
            self.shown_frames += 1
            self.shown_bytes += size
        if mark & _TOLD:
            self._note(frame)
        if mark & _TERMINAL:
            self._end("complete", None)
        return frame

    def _broken_off(
        self, failure: BaseException | None, task: asyncio.Task[object] | None, cancels: int
    ) -> Frame:
        """End with a read that brought no frame, or one too late; return or raise what it gets.

        The cancel by which `interrupt` woke the reader is taken back; `cancels` were there before.
        """
        if self._interrupted and task is not None and task.uncancel() <= cancels:
            # Nobody else cancelled us.
            failure = None if isinstance(failure, asyncio.CancelledError) else failure
        if failure is not None and not isinstance(failure, Exception):
            self._end("cancelled", failure)
            raise failure
        if self.outcome is not None:
            return self._over()
        if failure is None:
            failure = Truncated("the answer stopped before its end")
            failure.deployment = self.deployment.name
        self._end("failed", failure)
        raise failure

    def _over(self) -> Frame:
        """Return or raise what a read gets after the end."""
        if self.outcome == "complete":
            last, self._last = self._last, None
            if last is None:
                raise StopAsyncIteration
            return last
        # Never somebody else's CancelledError: the task that reads now was not cancelled.
        raise self.error if isinstance(self.error, Exception) else ReplyClosed(_CLOSED)

    def _note(self, frame: Frame) -> None:
        for event in frame.told or self.events(frame):
            if type(event) is UsageReport:
                self.usage, self.apart = event.usage, event.apart
            elif type(event) is Finish:
                self.finished += (event.choice,)
                if event.choice == 0:
                    self.finish, self.finish_raw = event.reason, event.raw
            elif type(event) is Started:
                self.upstream_id = event.id or self.upstream_id
                self.upstream_model = event.model or self.upstream_model

    def _end(self, outcome: Outcome, error: BaseException | None) -> None:
        """Close the wire, then run every tail once; if one raises, that is what the end was."""
        if self.outcome is not None:
            return
        self.outcome, self.error = outcome, error
        if isinstance(error, TrunklineError) and self.call is not None:
            error.call_id = self.call.id
        tails, self._tails = self._tails, []
        broken: list[BaseException] = []
        for tail in tails:
            try:
                tail(self)
            except BaseException as failure:
                broken.append(failure)
        if broken:
            for other in broken[1:]:
                broken[0].add_note(f"also: {other!r}")
            if error is not None and isinstance(broken[0], Exception):
                error.add_note(f"while closing: {broken[0]!r}")
                return
            self.outcome, self.error = "failed", broken[0]
            raise broken[0]
