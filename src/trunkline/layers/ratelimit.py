"""Keep within a deployment's own requests and tokens per minute, so that it need not refuse us."""

from __future__ import annotations

from collections.abc import Awaitable

from trunkline.accounting.estimate import Estimates
from trunkline.clock import Clock
from trunkline.errors import LocalRefusal, RateLimited
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Deployment

_MINUTE_S = 60.0
_ROUNDING = 1e-3


class Bucket:
    """A leaking bucket: `per_minute` units flow back evenly; starts full."""

    __slots__ = ("_at_s", "_left", "per_minute")

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at_s = now_s

    def wait_s(self, units: float, now_s: float) -> float:
        """Return 0 when `units` are there, else the seconds until they will be."""
        most = self.per_minute
        left = self._left + (now_s - self._at_s) * most / _MINUTE_S
        if left > most:
            left = float(most)
        self._left, self._at_s = left, now_s
        if units <= left:
            return 0.0
        short = min(units, most) - left
        return short * _MINUTE_S / most if short > _ROUNDING else 0.0

    def take(self, units: float) -> None:
        """Take `units`; negative gives back. The level may go below zero and is paid off later."""
        self._left -= units


class Limiter:
    """The buckets of every provider that has limits, shared by its deployments."""

    def __init__(self, estimates: Estimates, clock: Clock) -> None:
        self._estimates = estimates
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def reserve(self, call: Call, target: Deployment) -> int:
        """Take one request and the estimated tokens; return the tokens taken.

        Raises:
            RateLimited: with the seconds until there is room.
        """
        limits = target.limits
        estimates = self._estimates
        tokens = estimates.prompt_tokens(call) + estimates.output_tokens(call, target.name)
        of_requests = self._room(target, "requests", limits.requests_per_minute, 1)
        of_tokens = self._room(target, "tokens", limits.tokens_per_minute, tokens)
        if of_requests is not None:
            of_requests.take(1)
        if of_tokens is not None:
            of_tokens.take(tokens)
        return tokens

    def give_back(self, target: Deployment, tokens: int, requests: int = 0) -> None:
        """Give back what was reserved and not used; negative takes what was used beyond."""
        for unit, units in (("tokens", tokens), ("requests", requests)):
            if units and (bucket := self._buckets.get((target.provider, unit))) is not None:
                bucket.take(-units)

    def _room(
        self, target: Deployment, unit: str, per_minute: int | None, units: int
    ) -> Bucket | None:
        """Return the bucket that has room for `units`, None where there is no limit."""
        if per_minute is None:
            return None
        now_s, key = self._clock.monotonic_s(), (target.provider, unit)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(per_minute, now_s)
        bucket.per_minute = per_minute  # a new configuration may say otherwise
        if wait_s := bucket.wait_s(units, now_s):
            raise RateLimited(
                f"{target.provider} is limited to {per_minute} {unit} per minute here; "
                f"room in {wait_s:.1f} s",
                retry_after_s=wait_s,
            )
        return bucket


def ratelimit(limiter: Limiter) -> Layer:
    """Refuse an attempt that would exceed its provider's limits; another provider may take it."""

    def layer(inner: Service) -> Service:
        def service(call: Call) -> Awaitable[Reply]:
            assert call.target is not None
            limits = call.target.limits
            if limits.requests_per_minute is None and limits.tokens_per_minute is None:
                return inner(call)
            return limited(call, call.target)

        async def limited(call: Call, target: Deployment) -> Reply:
            reserved = limiter.reserve(call, target)
            try:
                reply = await inner(call)
            except BaseException as error:
                sent = not isinstance(error, LocalRefusal)
                limiter.give_back(target, reserved, requests=0 if sent else 1)
                raise

            def correct(reply: Reply) -> None:
                if reply.usage is not None:
                    limiter.give_back(target, reserved - reply.usage.total_tokens)

            reply.on_close(correct)
            return reply

        return service

    return layer
