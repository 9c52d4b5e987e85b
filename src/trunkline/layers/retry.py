"""Try the same deployment again where that can help, after a wait that spreads the crowd."""

from __future__ import annotations

import random
from collections.abc import Callable

from trunkline.clock import Clock
from trunkline.errors import ProviderError
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Deployment

_BASE_S = 0.5
_LONGEST_S = 8.0
_LONGEST_ASKED_S = 30.0
"""A provider that asks for more than this is better left alone: another may answer now."""


def retry(clock: Clock, chance: Callable[[], float] = random.random) -> Layer:
    """Retry errors marked `retry_same`, up to the deployment's `retries`.

    Waits with full jitter (uniform between 0 and a doubling bound), or exactly as long as the
    provider asked. `chance` returns a float in [0, 1).
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            target = call.target
            assert target is not None
            tries = 0
            while True:
                try:
                    return await inner(call)
                except ProviderError as error:
                    delay_s = _delay_s(error, tries, target, chance)
                    if delay_s is None or not _in_time(call, clock, delay_s):
                        raise
                    assert call.trail is not None
                    call.trail.route.append(
                        f"{target.name}: {error.code}, again in {delay_s:.2f} s"
                    )
                tries += 1
                await clock.sleep(delay_s)

        return service

    return layer


def _delay_s(
    error: ProviderError, tries: int, target: Deployment, chance: Callable[[], float]
) -> float | None:
    """Decide: seconds to wait before the next try, None to give up."""
    if not error.retry_same or tries >= target.retries:
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= _LONGEST_ASKED_S else None
    return chance() * min(_LONGEST_S, _BASE_S * float(2**tries))


def _in_time(call: Call, clock: Clock, delay_s: float) -> bool:
    if call.timeout_s is None or call.trail is None:
        return True
    return clock.monotonic_s() + delay_s < call.trail.started_s + call.timeout_s
