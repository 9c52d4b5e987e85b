"""Keep within a deployment's own requests and tokens per minute, so that it need not refuse us."""

from __future__ import annotations

from trunkline.accounting.estimate import Estimates
from trunkline.clock import Clock
from trunkline.errors import RateLimited
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Deployment

_MINUTE_S = 60.0


class Bucket:
    """A leaking bucket: `per_minute` units flow back evenly; starts full."""

    __slots__ = ("_at_s", "_left", "per_minute")

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at_s = now_s

    def wait_s(self, units: float, now_s: float) -> float:
        """Return 0 when `units` are there, else the seconds until they will be."""
        rate = self.per_minute / _MINUTE_S
        self._left = min(float(self.per_minute), self._left + (now_s - self._at_s) * rate)
        self._at_s = now_s
        return max(0.0, (min(units, self.per_minute) - self._left) / rate)

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
        now_s = self._clock.monotonic_s()
        limits = target.limits
        tokens = self._estimates.prompt_tokens(call) + self._estimates.output_tokens(
            target.name, call.body.max_output_tokens
        )
        wanted = (
            ("requests", limits.requests_per_minute, 1),
            ("tokens", limits.tokens_per_minute, tokens),
        )
        taking = []
        for unit, per_minute, units in wanted:
            if per_minute is None:
                continue
            bucket = self._bucket(target.provider, unit, per_minute, now_s)
            if wait_s := bucket.wait_s(units, now_s):
                raise RateLimited(
                    f"{target.provider} is limited to {per_minute} {unit} per minute here; "
                    f"room in {wait_s:.1f} s",
                    retry_after_s=wait_s,
                )
            taking.append((bucket, units))
        for bucket, units in taking:
            bucket.take(units)
        return tokens

    def correct(self, target: Deployment, reserved_tokens: int, used_tokens: int) -> None:
        """Replace the estimate by what was used."""
        if (bucket := self._buckets.get((target.provider, "tokens"))) is not None:
            bucket.take(used_tokens - reserved_tokens)

    def _bucket(self, provider: str, unit: str, per_minute: int, now_s: float) -> Bucket:
        bucket = self._buckets.get((provider, unit))
        if bucket is None or bucket.per_minute != per_minute:
            bucket = self._buckets[provider, unit] = Bucket(per_minute, now_s)
        return bucket


def ratelimit(limiter: Limiter) -> Layer:
    """Refuse an attempt that would exceed its provider's limits; another provider may take it."""

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            target = call.target
            assert target is not None
            limits = target.limits
            if limits.requests_per_minute is None and limits.tokens_per_minute is None:
                return await inner(call)
            reserved = limiter.reserve(call, target)
            try:
                reply = await inner(call)
            except BaseException:
                limiter.correct(target, reserved, 0)
                raise

            def correct(reply: Reply) -> None:
                if reply.usage is not None:
                    limiter.correct(target, reserved, reply.usage.total_tokens)

            reply.on_close(correct)
            return reply

        return service

    return layer
