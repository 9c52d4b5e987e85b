"""Keep within limits per minute: those of who calls, and those of the provider that is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence

from trunkline.accounting.estimate import Estimates
from trunkline.accounting.limited import Limited
from trunkline.accounting.rates import MINUTE_NS, Buckets, Draw, Level
from trunkline.errors import AllProvidersUnavailable, LocalRefusal, RateLimited, was_sent
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Allowance, Call, CountTokens, RateLimit, Room, Trail

_S_NS = 1e9
_REQUESTS, _TOKENS = " requests", " tokens"


class Limiter:
    """What both layers share: the buckets, who is limited, and how often somebody was refused."""

    def __init__(self, buckets: Buckets, estimates: Estimates) -> None:
        self.limited = Limited()
        """Who has limits; another one when the configuration or a key changes."""
        self.refused: Counter[str] = Counter()
        """How often, by the kind of scope whose limit it was."""
        self.buckets = buckets
        self._estimates = estimates

    def tokens(self, call: Call, name: str) -> int:
        """Estimate the tokens of a call, by what answers of `name` were like before."""
        if isinstance(call, CountTokens):
            return 0  # a model that only counts reads none
        estimates = self._estimates
        return estimates.prompt_tokens(call) + estimates.output_tokens(call, name)

    async def reserve(
        self, rates: Sequence[RateLimit], tokens: int, trail: Trail | None = None
    ) -> list[Draw]:
        """Take one request and `tokens` of all limits, or nothing; say on `trail` what is left.

        Raises:
            RateLimited: with the seconds until there is room in all of them.
        """
        draws = _draws(rates, 1, tokens)
        levels = await self.buckets.take(draws)
        if trail is not None:
            trail.room = Allowance(_least(draws, levels, _REQUESTS), _least(draws, levels, _TOKENS))
        wait_ns, place = max((level.wait_ns, at) for at, level in enumerate(levels))
        if wait_ns:
            raise self._refusal(draws[place], wait_ns)
        return draws

    def settle(self, rates: Sequence[RateLimit], tokens: int, requests: int = 0) -> None:
        """Give back what was reserved and not used; negative takes what was used beyond."""
        if draws := [draw for draw in _draws(rates, requests, tokens) if draw.units]:
            self.buckets.give_back(draws)

    def _refusal(self, draw: Draw, wait_ns: int) -> RateLimited:
        scope, _, unit = draw.bucket.rpartition(" ")
        self.refused[scope.partition(":")[0]] += 1
        wait_s = (wait_ns // 1000 + 1) / 1e6  # a microsecond more than floats might lose
        return RateLimited(
            f"{scope} is limited to {draw.per_minute} {unit} per minute here; "
            f"room in {wait_s:.1f} s",
            retry_after_s=wait_s,
        )


def call_ratelimit(limiter: Limiter) -> Layer:
    """Refuse a call for which its principal has no room, before anything else is asked."""

    def layer(inner: Service) -> Service:
        def service(call: Call) -> Awaitable[Reply]:
            limited = limiter.limited
            rates = limited.of(call.principal) if limited.any else ()
            return keeping(call, rates) if rates else inner(call)

        async def keeping(call: Call, rates: Sequence[RateLimit]) -> Reply:
            trail = call.trail
            assert trail is not None
            reserved = limiter.tokens(call, call.model)
            await limiter.reserve(rates, reserved, trail)
            try:
                reply = await inner(call)
            except BaseException as error:
                unused = reserved - _used_tokens(trail)
                limiter.settle(rates, unused, requests=0 if _reached(error) else 1)
                raise

            def correct(reply: Reply) -> None:
                if used := _used_tokens(trail):
                    limiter.settle(rates, reserved - used)

            reply.on_close(correct)
            return reply

        return service

    return layer


def attempt_ratelimit(limiter: Limiter) -> Layer:
    """Refuse an attempt that would exceed its provider's limits; another provider may take it."""

    def layer(inner: Service) -> Service:
        def service(call: Call) -> Awaitable[Reply]:
            target = call.target
            assert target is not None
            return keeping(call, target.rates, target.name) if target.rates else inner(call)

        async def keeping(call: Call, rates: Sequence[RateLimit], name: str) -> Reply:
            reserved = limiter.tokens(call, name)
            await limiter.reserve(rates, reserved)
            try:
                reply = await inner(call)
            except BaseException as error:
                limiter.settle(rates, reserved, requests=0 if _reached(error) else 1)
                raise

            def correct(reply: Reply) -> None:
                if reply.usage is not None:
                    limiter.settle(rates, reserved - reply.usage.total_tokens)

            reply.on_close(correct)
            return reply

        return service

    return layer


def _draws(rates: Sequence[RateLimit], requests: int, tokens: int) -> list[Draw]:
    draws = []
    for rate in rates:
        if rate.requests_per_minute is not None:
            draws.append(Draw(rate.scope + _REQUESTS, rate.requests_per_minute, requests))
        if rate.tokens_per_minute is not None:
            draws.append(Draw(rate.scope + _TOKENS, rate.tokens_per_minute, tokens))
    return draws


def _least(draws: Sequence[Draw], levels: Sequence[Level], unit: str) -> Room | None:
    """Return the bucket of a unit that has the least left."""
    rooms = [
        Room(
            draw.per_minute,
            max(MINUTE_NS - level.used_ns, 0) * draw.per_minute // MINUTE_NS,
            level.used_ns / _S_NS,
        )
        for draw, level in zip(draws, levels, strict=True)
        if draw.bucket.endswith(unit)
    ]
    return min(rooms, key=lambda room: room.left, default=None)


def _used_tokens(trail: Trail) -> int:
    return sum(attempt.usage.total_tokens for attempt in trail.attempts)


def _reached(error: BaseException) -> bool:
    """Tell whether a provider may have seen anything of a call."""
    if isinstance(error, AllProvidersUnavailable):
        return any(_reached(cause) for _, cause in error.causes)
    return was_sent(error) and not isinstance(error, LocalRefusal)
