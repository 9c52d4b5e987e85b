"""Try the same deployment again where that can help, after a wait that spreads the crowd."""

from __future__ import annotations

import random
from collections.abc import Callable

from trunkline.clock import Clock
from trunkline.errors import LocalRefusal, ProviderError
from trunkline.reply import Reply
from trunkline.routing.retries import RetryBudgets
from trunkline.service import Layer, Service
from trunkline.types import Call, Deployment

_BASE_S = 0.5
_LONGEST_S = 8.0
_LONGEST_ASKED_S = 30.0
"""A provider that asks for more than this is better left alone."""
_LONGEST_BESIDE_S = 2.0
"""So is one that asks for more than this where another may answer now."""
_MOST_ATTEMPTS = 16
"""Of one call, at all its deployments: after so many each has one more and no second."""


def retry(
    clock: Clock, budgets: RetryBudgets, chance: Callable[[], float] = random.random
) -> Layer:
    """Retry errors marked `retry_same`, up to the deployment's `retries`, while the budget lasts.

    Waits with full jitter (uniform between 0 and a doubling bound), or exactly as long as the
    provider asked, 30 s at most, and 2 s where another deployment may answer now. `chance` returns
    a float in [0, 1). When we refuse a further try ourselves, what the provider said before is the
    error.
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            target = call.target
            assert target is not None
            budget = budgets.of(target.provider, clock.monotonic_s)
            budget.fresh += 1
            tries = 0
            before: ProviderError | None = None
            while True:
                try:
                    return await inner(call)
                except LocalRefusal:
                    if before is None:
                        raise
                    raise before from None
                except ProviderError as error:
                    before = error
                assert call.trail is not None
                most_s = _LONGEST_BESIDE_S if call.trail.others else _LONGEST_ASKED_S
                delay_s = _delay_s(before, tries, target, chance, most_s)
                if delay_s is None or not _in_time(call, clock, delay_s):
                    raise before
                said = call.trail.route
                if not budget.take(clock.monotonic_s()):
                    said.append(f"{target.name}: {before.code}, no retry left for {budget.name}")
                    raise before
                said.append(f"{target.name}: {before.code}, again in {delay_s:.2f} s")
                tries += 1
                await clock.sleep(delay_s)

        return service

    return layer


def _delay_s(
    error: ProviderError,
    tries: int,
    target: Deployment,
    chance: Callable[[], float],
    most_s: float,
) -> float | None:
    """Decide: seconds to wait before the next try, None to give up."""
    if not error.retry_same or tries >= target.retries:
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= most_s else None
    return chance() * min(_LONGEST_S, _BASE_S * float(2**tries))


def _in_time(call: Call, clock: Clock, delay_s: float) -> bool:
    trail = call.trail
    assert trail is not None
    if len(trail.attempts) >= _MOST_ATTEMPTS:
        return False
    if call.timeout_s is None:
        return True
    return clock.monotonic_s() + delay_s < trail.started_s + call.timeout_s
