"""Whom usage events are told to: webhooks, and functions in this process."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from msgspec import Struct

from trunkline.clock import Clock
from trunkline.config import Config, Webhook
from trunkline.egress import Door
from trunkline.errors import InputError
from trunkline.interfaces import HOOK_ENTRY_POINTS, UsageHook
from trunkline.types.usage_event import UsageEvent

_PATIENCE_S = 60.0


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of one event."""

    trouble: str = ""
    """Why it was not taken; "" = it was."""
    final: bool = False
    """True = it must not be told again."""
    after_s: float = 0.0
    """How long the hook asks us to wait."""


TAKEN = Verdict()
_LATE = Verdict(trouble="it took too long")


class Target(Protocol):
    """One hook."""

    @property
    def name(self) -> str:
        """What it is known by in the outbox, also after a restart."""

    async def tell(self, events: Sequence[UsageEvent]) -> list[Verdict]:
        """Hand events over; one verdict for each, nothing is raised."""


class HttpTarget:
    """A webhook: one signed POST for each event."""

    def __init__(self, webhook: Webhook, clock: Clock) -> None:
        self.name = webhook.url
        self._webhook = webhook
        self._clock = clock

    async def tell(self, events: Sequence[UsageEvent]) -> list[Verdict]:
        """Post all events at the same time."""
        async with Door(allow_private=self._webhook.allow_private) as door:
            return await asyncio.gather(*(self._post(door, event) for event in events))

    async def _post(self, door: Door, event: UsageEvent) -> Verdict:
        body = msgspec.json.encode(event)
        headers = {
            "content-type": "application/json",
            "user-agent": "trunkline",
            "trunkline-signature": self._signature(body),
            "trunkline-event-id": event.id,
            "idempotency-key": event.id,
        }
        answered = await door.post(self._webhook.url, body, headers)
        if 200 <= answered.status < 300:
            return TAKEN
        return Verdict(
            trouble=answered.trouble or f"it answered {answered.status}",
            final=answered.status == 410,
            after_s=answered.retry_after_s or 0.0,
        )

    def _signature(self, body: bytes) -> str:
        at_s = self._clock.now_ns() // 10**9
        secret = self._webhook.secret.reveal().encode()
        digest = hmac.new(secret, b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
        return f"t={at_s},v1={digest}"


class FunctionTarget:
    """A hook in this process.

    Args:
        name: what it is known by.
        load: gives the function; called when there is something to tell, so that a package which
            cannot be imported loses nothing.
    """

    def __init__(self, name: str, load: Callable[[], UsageHook]) -> None:
        self.name = f"python:{name}"
        self._load = load

    async def tell(self, events: Sequence[UsageEvent]) -> list[Verdict]:
        """Call the function; if it raises, once more for each event, so that one alone can fail."""
        told = await self._call(events)
        if told in (TAKEN, _LATE) or len(events) == 1:
            return [told] * len(events)
        return [await self._call([event]) for event in events]

    async def _call(self, events: Sequence[UsageEvent]) -> Verdict:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = self._load()([*events])
                if inspect.isawaitable(found):
                    await found
        except TimeoutError:
            return _LATE
        except (Exception, SystemExit) as error:  # whatever it is, it is theirs
            return Verdict(trouble=f"{type(error).__name__}: {error}")
        return TAKEN


def known_targets(config: Config, hooks: Iterable[UsageHook], clock: Clock) -> list[Target]:
    """Return the configured webhooks, the entry points of `trunkline.usage_hooks`, and `hooks`.

    Raises:
        InputError: a hook is no function, or two have the same name.
    """
    from importlib.metadata import entry_points  # slow to import, so only here

    found: dict[str, Target] = {}
    for webhook in config.webhooks:
        found[webhook.url] = HttpTarget(webhook, clock)
    for point in entry_points(group=HOOK_ENTRY_POINTS):
        found[point.value] = FunctionTarget(point.value, point.load)
    for hook in hooks:
        name = _name(hook)
        if name in found:
            raise InputError(
                f"two usage hooks are called {name!r}; what waits for one is kept under its name, "
                "so give each function a name of its own",
                param="usage_hooks",
            )
        found[name] = FunctionTarget(name, partial(_itself, hook))
    return [*found.values()]


def _itself(hook: UsageHook) -> UsageHook:
    return hook


def _name(hook: UsageHook) -> str:
    if not callable(hook):
        raise InputError(f"{hook!r} cannot be called; pass functions", param="usage_hooks")
    named = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{named.__module__}.{named.__qualname__}"
