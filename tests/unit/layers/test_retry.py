"""The same deployment is asked again where the error says that it can help, and waited for."""

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.layers.double import WHOLE, Answer, Inner, ask, settle
from trunkline import errors
from trunkline.errors import (
    AuthFailed,
    CircuitOpen,
    ConnectionLost,
    LocalRefusal,
    Overloaded,
    ProviderError,
    RateLimited,
    Refused,
    TrunklineError,
    UpstreamFailed,
    UpstreamRateLimited,
)
from trunkline.layers.retry import retry
from trunkline.reply import Reply
from trunkline.routing.retries import RetryBudgets
from trunkline.testing import ManualClock
from trunkline.types import Attempt, Call, Deployment, Trail


def request(retries: int = 2, timeout_s: float | None = None) -> Call:
    """Make an attempt's call."""
    target = Deployment(provider="p", model="m", retries=retries)
    return ask(trail=Trail(), target=target, timeout_s=timeout_s)


async def waits(
    inner: Inner, call: Call, chance: Callable[[], float] = lambda: 0.5
) -> tuple[list[float], Reply | BaseException]:
    """Make the call; return how long it slept each time, and what came of it."""
    clock = ManualClock()
    slept: list[float] = []
    sleep = clock.sleep

    async def note(delay_s: float) -> None:
        slept.append(delay_s)
        await sleep(delay_s)

    clock.sleep = note  # type: ignore[method-assign]
    task = asyncio.ensure_future(retry(clock, RetryBudgets(), chance)(inner)(call))
    await clock.elapse(1000)
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert clock.pending == 0
    return slept, result


KINDS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, TrunklineError)
]


@pytest.mark.acceptance("K07", "A22")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_the_error_decides_how_many_attempts_are_made(kind: type[TrunklineError]) -> None:
    """`retries` + 1 attempts on what `retry_same` marks, one on anything else."""
    error = kind("no")
    inner = Inner(error)
    _, result = await waits(inner, request(retries=2))
    assert result is error
    assert len(inner.calls) == (3 if kind.retry_same else 1)


@pytest.mark.acceptance("K07")
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (UpstreamFailed("500", upstream_status=500), 3),
        (UpstreamRateLimited("429", upstream_status=429), 3),
        (ConnectionLost("reset"), 3),
        (Refused("400", upstream_status=400), 1),
        (AuthFailed("401", upstream_status=401), 1),
    ],
    ids=str,
)
async def test_two_retries_are_three_attempts(error: ProviderError, attempts: int) -> None:
    """The seeds' own numbers."""
    inner = Inner(error)
    await waits(inner, request(retries=2))
    assert len(inner.calls) == attempts


async def test_no_retries_is_one_attempt() -> None:
    """`retries: 0` never waits."""
    inner = Inner(ConnectionLost("reset"))
    assert (await waits(inner, request(retries=0)))[0] == []
    assert len(inner.calls) == 1


async def test_a_success_ends_the_trying() -> None:
    """The reply of the attempt that succeeds is the reply; the trail tells of the waits."""
    inner, call = Inner(ConnectionLost("reset"), UpstreamFailed("500"), WHOLE), request()
    slept, reply = await waits(inner, call)
    assert isinstance(reply, Reply)
    assert (await reply.message()).text == "hi"
    assert slept == [0.25, 0.5]
    assert call.trail is not None
    assert call.trail.route == [
        "p/m: connection_lost, again in 0.25 s",
        "p/m: upstream_failed, again in 0.50 s",
    ]


@pytest.mark.parametrize(
    ("asked_s", "others", "waited"),
    [(2.0, True, [2.0]), (2.1, True, []), (2.1, False, [2.1]), (30.0, False, [30.0])],
)
async def test_it_waits_less_where_others_may_answer(
    asked_s: float, others: bool, waited: list[float]
) -> None:
    """Up to 30 s for the only one, up to 2 s where another is left."""
    call = request()
    assert call.trail is not None
    call.trail.others = others
    error = UpstreamRateLimited("429", upstream_status=429, retry_after_s=asked_s)
    slept, _ = await waits(Inner(error, Refused("400", upstream_status=400)), call)
    assert slept == waited


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
async def test_waits_have_full_jitter_under_a_doubling_bound(chance: float) -> None:
    """Uniform from 0 to 0.5 s, 1 s, 2 s, ... and never more than 8 s."""
    slept, _ = await waits(Inner(ConnectionLost("reset")), request(retries=7), lambda: chance)
    assert slept == [chance * bound_s for bound_s in (0.5, 1, 2, 4, 8, 8, 8)]


def limited(retry_after_s: float) -> Answer:
    """Refuse for a while."""
    return UpstreamRateLimited("429", retry_after_s=retry_after_s)


@pytest.mark.parametrize("asked_s", [0.0, 1.5, 30.0])
async def test_retry_after_is_obeyed(asked_s: float) -> None:
    """As long as the provider asked, whatever the dice say."""
    slept, reply = await waits(Inner(limited(asked_s), WHOLE), request())
    assert slept == [asked_s]
    assert isinstance(reply, Reply)
    await reply.aclose()


async def test_too_long_a_wait_is_not_waited() -> None:
    """Somebody else may answer now."""
    inner = Inner(limited(30.1), WHOLE)
    slept, error = await waits(inner, request())
    assert isinstance(error, UpstreamRateLimited)
    assert (slept, len(inner.calls)) == ([], 1)


@pytest.mark.parametrize(("timeout_s", "attempts"), [(9.9, 1), (10.0, 1), (10.1, 2)])
async def test_no_wait_ends_after_the_deadline(timeout_s: float, attempts: int) -> None:
    """A wait that could only end in a time-out is an error at once."""
    inner = Inner(limited(10.0))
    await waits(inner, request(retries=1, timeout_s=timeout_s))
    assert len(inner.calls) == attempts


async def test_time_already_spent_counts() -> None:
    """The deadline is counted from the start of the call, not of the attempt."""
    clock, inner = ManualClock(), Inner(limited(2.0))
    clock.advance(9)
    with pytest.raises(UpstreamRateLimited):
        await retry(clock, RetryBudgets())(inner)(request(timeout_s=10))
    assert len(inner.calls) == 1


async def test_a_cancellation_during_the_wait_ends_it() -> None:
    """Nothing is tried after it and no timer is left."""
    clock, inner = ManualClock(), Inner(limited(10.0))
    task = asyncio.ensure_future(retry(clock, RetryBudgets())(inner)(request()))
    await settle()
    assert clock.pending == 1
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (clock.pending, len(inner.calls)) == (0, 1)


async def test_an_outage_is_not_retried_by_all() -> None:
    """When a provider's budget is used up, the error goes out at once and the trail says so."""
    budgets, clock, inner = RetryBudgets(), ManualClock(), Inner(ConnectionLost("reset"))
    service = retry(clock, budgets, lambda: 0.0)(inner)
    calls = [request() for _ in range(100)]
    results = await asyncio.gather(*map(service, calls), return_exceptions=True)
    assert all(isinstance(result, ConnectionLost) for result in results)
    assert 110 <= len(inner.calls) <= 131
    assert budgets.refused > 50
    assert calls[-1].trail is not None
    assert calls[-1].trail.route[-1] == "p/m: connection_lost, no retry left for p"


@pytest.mark.parametrize(
    "refusal", [CircuitOpen("rests", retry_after_s=5.0), Overloaded("full"), RateLimited("used up")]
)
async def test_our_own_refusal_of_a_retry_is_not_the_error(refusal: LocalRefusal) -> None:
    """The caller hears what the provider said; a refusal of the first try is what there is."""
    said = UpstreamFailed("500")
    _, result = await waits(Inner(said, refusal), request())
    assert result is said
    _, result = await waits(Inner(refusal), request())
    assert result is refusal


async def test_a_call_has_an_end() -> None:
    """After sixteen attempts, at whatever deployments, nothing is tried twice any more."""
    call, inner = request(), Inner(ConnectionLost("reset"))
    assert call.trail is not None
    call.trail.attempts += [Attempt(n=n, deployment="p/m", started_ns=0) for n in range(16)]
    await waits(inner, call)
    assert len(inner.calls) == 1
