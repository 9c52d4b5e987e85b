"""What answers inside this process: each backend is one module, imported when it is first used.

A backend is a `Service` for deployments whose `backend` names it: `demo`, `transformers` (a model
in this process), `litellm` (the long tail), or `custom:NAME` for a provider that was made known
with `register_provider`. It gives frames that carry events and no bytes, of the dialect `events`;
those of `litellm` are of the dialect `openai_chat`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from importlib import import_module
from typing import Protocol, cast

from trunkline.clock import Clock, SystemClock
from trunkline.codec import mark_of
from trunkline.errors import BadAnswer, ConfigError
from trunkline.reply import Reply
from trunkline.service import Service
from trunkline.types import Call, Deployment, Event, Frame, Mark

KINDS = ("demo", "custom", "estimate", "litellm", "transformers")


class Backend(Protocol):
    """Answers calls in this process; made by `make(name, clock)` of its module."""

    async def send(self, call: Call) -> Reply:
        """Answer `call`, which `call.target` was chosen for; a `Service`."""


def load(name: str, clock: Clock | None = None) -> Service:
    """Return the backend `name` (one of `KINDS`; `custom:NAME`) as a service.

    Raises:
        ConfigError: there is no such backend, or nobody registered NAME.
    """
    kind, _, rest = name.partition(":")
    if kind not in KINDS:
        raise ConfigError(f"there is no backend {name!r}; write one of {', '.join(KINDS)}")
    module = import_module(f"trunkline.backends.{kind}")
    return cast("Backend", module.make(rest, clock or SystemClock())).send


async def begin(frames: AsyncGenerator[Frame, None], deployment: Deployment) -> Reply:
    """Read up to the first frame a caller can see, so that an early failure raises.

    Raises:
        BadAnswer: there was no such frame.
    """
    source = _Generated(frames)
    head: list[Frame] = []
    try:
        while not head or not head[-1].mark & (Mark.SHOWN | Mark.TERMINAL):
            frame = await source.next()
            if frame is None:
                raise BadAnswer(f"{deployment.name} gave no answer")
            head.append(frame)
    except BaseException:
        await source.wait_closed()
        raise
    return Reply(source, deployment, head=head)


async def whole(deployment: Deployment, *events: Event) -> Reply:
    """Return an answer that is over in one frame."""

    async def frames() -> AsyncGenerator[Frame, None]:
        yield Frame(b"", mark_of(events) | Mark.TERMINAL, events=events)

    return await begin(frames(), deployment)


class _Generated:
    """Frames of an async generator as a `Source`."""

    def __init__(self, frames: AsyncGenerator[Frame, None]) -> None:
        self._frames = frames
        self._reading = asyncio.Lock()
        self._closed = False

    async def next(self) -> Frame | None:
        """Return the next frame; the generator has ended when a terminal one is handed out."""
        async with self._reading:
            frame = None if self._closed else await anext(self._frames, None)
            if frame is not None and frame.terminal:
                await self._frames.aclose()
            return frame

    def close(self) -> None:
        """Say no more; what a generator holds can only be let go in `wait_closed`."""
        self._closed = True

    async def wait_closed(self) -> None:
        """End the generator, after whoever is reading it."""
        self.close()
        async with self._reading:
            await self._frames.aclose()
