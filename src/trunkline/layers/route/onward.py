"""An answer that broke off goes on at another deployment, as the group's `midstream` rule says.

What was said so far is handed on as the beginning of the next answer. That works for words alone:
not in the middle of a thought or a tool call, and not for JSON, several choices or sound. Where it
does not work, or nobody who is left can take it, the answer ends with the error it broke off with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from trunkline.codec import SEAM
from trunkline.dialects import load
from trunkline.errors import InputError, ProviderError, TrunklineError
from trunkline.layers.route.seam import Seam, words_of
from trunkline.reply import Reply
from trunkline.types import (
    Chat,
    Deployment,
    Event,
    Frame,
    Mark,
    Outcome,
    Prompt,
    Usage,
    UsageReport,
    Wire,
)


class GoOn(Protocol):
    """Asks those who are left; see `Walk.go_on`."""

    def __call__(
        self, call: Chat, error: TrunklineError, able: Callable[[Deployment], bool]
    ) -> Awaitable[Reply | None]:
        """Return an answer to `call` by one of those left that are `able`; None = nobody is."""


class Onward:
    """Frames of one answer, by as many deployments as it takes; the source of a `Reply`."""

    def __init__(self, reply: Reply, call: Chat, go_on: GoOn) -> None:
        self._reply = reply
        self._call = call
        self._go_on = go_on
        self._told: list[Frame] = []
        """What was handed out; decoded when it is needed."""
        self._seam: Seam | None = None
        self.asking = False
        """Whether another attempt is being made, and has no answer yet."""
        self.stopped: Callable[[], None] | None = None
        """Ends the answer, once that attempt has ended."""
        self._asked = asyncio.Event()

    @classmethod
    def of(cls, reply: Reply, call: Chat, go_on: GoOn) -> Reply:
        """Return an answer that begins with `reply`."""
        source = cls(reply, call, go_on)
        onward = _Onward(source, reply.deployment, headers=reply.headers)
        onward.on_close(lambda onward: source.end(onward.outcome or "failed", onward.error))
        return onward

    async def next(self) -> Frame | None:
        """Return the next frame."""
        while True:
            try:
                frame = await anext(self._reply)
            except StopAsyncIteration:
                return None
            except ProviderError as error:
                told: Frame | None = await self._next_answer(error)
            else:
                told = frame if self._seam is None else self._fitted(self._seam, frame)
            if told is not None:
                self._told.append(told)
                return told

    def close(self) -> None:
        """Do nothing: `end` closes the wire, for it knows why."""

    async def wait_closed(self) -> None:
        """Finish what the end began."""
        if self.asking:
            await self._asked.wait()
        await self._reply.aclose()

    def end(self, outcome: Outcome, error: BaseException | None) -> None:
        """End the attempt under way as the answer ended."""
        self._reply.interrupt(outcome, error)

    async def _next_answer(self, error: ProviderError) -> Frame:
        """Have another deployment go on; return a frame that says so, or raise `error`."""
        call, broken, trail = self._call, self._reply, self._call.trail
        assert trail is not None
        words = words_of(self._told)
        if not error.fail_over or not words or not _may_go_on(call):
            raise error
        trail.route.append(f"{broken.deployment.name}: {error.code} in its answer")
        call = replace(call, partial=words.rstrip(), body=_shorter(call))
        reply = await self._another(call, error)
        if reply is None:
            raise error
        name = reply.deployment.name
        trail.warnings.append(
            f"{broken.deployment.name} broke off ({error.code}), {name} went on with its answer"
        )
        self._seam = Seam(words)
        return Frame(SEAM % name.encode(), Mark.NONE, events=())

    async def _another(self, call: Chat, error: ProviderError) -> Reply | None:
        """Make another attempt; if the answer was ended meanwhile, it ends after that."""
        self.asking = True
        self._asked.clear()
        try:
            reply = await self._go_on(call, error, partial(_can, call))
            self._reply = reply or self._reply
        finally:
            self.asking = False
            self._asked.set()
            if self.stopped is not None:
                self.stopped()
        return reply

    def _fitted(self, seam: Seam, frame: Frame) -> Frame | None:
        """Return what a frame after the seam adds; None = nothing.

        The bytes of another provider would not fit: they have another id and another model.
        """
        events = seam.fitted(self._reply.events(frame))
        mark = frame.mark & ~Mark.USAGE
        if mark & Mark.TERMINAL:
            events.append(self._usage())
            mark |= Mark.USAGE
        if not events and not mark & Mark.TERMINAL:
            return None
        return Frame(b"", mark, events=tuple(events))

    def _usage(self) -> Event:
        """Return what all attempts of the call used, as it is on its row."""
        assert self._call.trail is not None
        total = Usage()
        for attempt in self._call.trail.attempts:
            total = _sum(total, attempt.usage)
        return UsageReport(usage=total)


class _Onward(Reply):
    """An answer that ends after the attempt that is being made, whose row comes before its own."""

    def interrupt(self, outcome: Outcome, error: BaseException | None) -> None:
        """End the reply from outside; see `Reply.interrupt`."""
        source, reader = self._source, self._reader
        if reader is None or not isinstance(source, Onward) or not source.asking:
            super().interrupt(outcome, error)
        elif source.stopped is None:
            source.stopped = partial(super().interrupt, outcome, error)
            self._interrupted = True
            reader.cancel()


def _may_go_on(call: Chat) -> bool:
    """Whether a beginning of its answer can be handed on at all."""
    try:
        prompt = call.prompt
    except InputError:
        return False
    return (
        prompt.choices == 1
        and prompt.output_format is None
        and bool(prompt.messages)
        and prompt.messages[-1].role != "assistant"
    )


def _can(call: Chat, deployment: Deployment) -> bool:
    return deployment.backend == "http" and load(deployment.dialect).continues(call, deployment)


def _shorter(call: Chat) -> Prompt | Wire:
    """Return the body of the call with what is left of its cap on output."""
    cap, trail = call.body.max_output_tokens, call.trail
    if cap is None or trail is None or not trail.attempts:
        return call.body
    used = sum(attempt.usage.completion_tokens for attempt in trail.attempts)
    return replace(call.body, max_output_tokens=max(1, cap - used))


def _sum(one: Usage, other: Usage) -> Usage:
    """Add up two usages; the tier is that of the last one that has any."""
    cost_nusd = None
    if one.reported_cost_nusd is not None or other.reported_cost_nusd is not None:
        cost_nusd = (one.reported_cost_nusd or 0) + (other.reported_cost_nusd or 0)
    counts = {
        name: getattr(one, name) + getattr(other, name)
        for name in Usage.__struct_fields__
        if name not in {"reported_cost_nusd", "service_tier"}
    }
    tier = other.service_tier or one.service_tier
    return Usage(**counts, reported_cost_nusd=cost_nusd, service_tier=tier)
