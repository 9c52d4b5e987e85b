"""Limits per minute are kept: refused here, with the wait, before anybody else has to."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.buckets import now
from tests.scripted import text, whole
from tests.unit.layers.double import ENDS, WHOLE, Answer, Inner, ask, limited, live
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.limited import Limited
from trunkline.accounting.rates import MINUTE_NS, Draw, InProcessBuckets
from trunkline.errors import (
    AllProvidersUnavailable,
    BudgetExhausted,
    CircuitOpen,
    ConnectFailed,
    ConnectionLost,
    ModelNotFound,
    RateLimited,
)
from trunkline.layers.ratelimit import Limiter, attempt_ratelimit, call_ratelimit
from trunkline.reply import Reply
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import (
    Allowance,
    Attempt,
    Call,
    Deployment,
    Principal,
    Prompt,
    RateLimit,
    Room,
    Trail,
    Usage,
    say,
)

ANN = Principal(key_id="k1", user_id="ann")


def limiter_of(clock: ManualClock, *rates: RateLimit) -> Limiter:
    """Make a limiter for principals that are limited to `rates`."""
    buckets = InProcessBuckets(lambda: round(clock.monotonic_s() * 1e9))
    limiter = Limiter(buckets, Estimates())
    limiter.limited = Limited(rates)
    return limiter


def attempts(clock: ManualClock, *answers: Answer) -> tuple[Service, Inner, Limiter]:
    """Make the layer around attempts over a scripted service."""
    inner, limiter = Inner(*answers), limiter_of(clock)
    return attempt_ratelimit(limiter)(inner), inner, limiter


def calls(
    clock: ManualClock, rates: Sequence[RateLimit], *answers: Answer, used: int = 0
) -> tuple[Service, Inner, Limiter]:
    """Make the layer around calls; each makes one attempt, that uses so many tokens."""
    inner, limiter = Inner(*answers), limiter_of(clock, *rates)

    async def attempting(call: Call) -> Reply:
        assert call.trail is not None
        usage = Usage(prompt_tokens=used)
        call.trail.attempts.append(Attempt(n=1, deployment="p/m", started_ns=0, usage=usage))
        return await inner(call)

    return call_ratelimit(limiter)(attempting), inner, limiter


def left(limiter: Limiter, scope: str = "provider:p", limit: int = 10_000) -> int:
    """Return how many tokens there are."""
    [level] = now(limiter.buckets.take([Draw(f"{scope} tokens", limit, 0)]))
    return limit - round(level.used_ns * limit / MINUTE_NS)


def by(who: Principal = ANN, **fields: Any) -> Call:
    """Make a call of Ann's, as it is once it has a trail."""
    return ask(principal=who, trail=Trail(), **fields)


# --- the provider's ---------------------------------------------------------------------------


async def test_requests_beyond_the_limit_are_refused_with_the_wait() -> None:
    """The third of two per minute hears when to come again, and is let in then."""
    clock = ManualClock()
    service, inner, limiter = attempts(clock, WHOLE)
    call = ask(target=limited(requests_per_minute=2))
    for _ in range(2):
        await (await service(call)).message()
    with pytest.raises(RateLimited, match="provider:p is limited to 2 requests per") as refusal:
        await service(call)
    assert refusal.value.retry_after_s == pytest.approx(30)
    assert limiter.refused == {"provider": 1}
    assert len(inner.calls) == 2
    clock.advance(refusal.value.retry_after_s or 0)
    await (await service(call)).message()


async def test_the_estimate_is_reserved_and_then_corrected() -> None:
    """While a call runs its estimate is taken, after it what it used."""
    service, _, limiter = attempts(ManualClock(), WHOLE)
    call = ask(target=limited(tokens_per_minute=10_000))
    reply = await service(call)
    assert left(limiter) == 10_000 - limiter.tokens(call, "p/m")
    await reply.message()
    assert left(limiter) == 10_000 - 3  # as `whole` reports


async def test_more_than_was_reserved_is_paid_off() -> None:
    """An answer longer than estimated delays those after it."""
    service, _, limiter = attempts(ManualClock(), (text("h"), whole("i" * 9)))
    body = Prompt(messages=(say("user", "hi"),), max_output_tokens=1)
    call = ask(target=limited(tokens_per_minute=10_000), body=body)
    assert call.target is not None
    reply = await service(call)
    limiter.settle(call.target.rates, limiter.tokens(call, "p/m"))  # as if none was reserved
    await reply.message()
    assert left(limiter) == 10_000  # never more than there is
    reply = await service(call)
    limiter.settle(call.target.rates, -5_000)
    await reply.message()
    assert left(limiter) == 5_000 - 3


@pytest.mark.parametrize("how", ["truncated", "abandoned", "cancelled in mid-stream"])
async def test_an_answer_without_usage_keeps_its_reservation(how: str) -> None:
    """What began to be answered was counted by the provider, nobody knows how much."""
    service, _, limiter = attempts(ManualClock(), ENDS[how][0])
    call = ask(target=limited(tokens_per_minute=10_000))
    await live(service, call, how)
    assert left(limiter) == 10_000 - limiter.tokens(call, "p/m")


async def test_a_failed_attempt_gives_its_tokens_back() -> None:
    """The request was made and counts; its tokens were not used."""
    service, _, limiter = attempts(ManualClock(), ConnectionLost("reset"), WHOLE)
    call = ask(target=limited(requests_per_minute=2, tokens_per_minute=10_000))
    with pytest.raises(ConnectionLost):
        await service(call)
    assert left(limiter) == 10_000
    await (await service(call)).message()
    with pytest.raises(RateLimited, match="requests"):
        await service(call)


@pytest.mark.parametrize("error", [CircuitOpen("rests"), ConnectFailed("nobody", sent=False)])
async def test_what_was_not_sent_uses_nothing_up(error: Exception) -> None:
    """A resting deployment must not eat the limit of its neighbours at the same provider."""
    service, inner, _ = attempts(ManualClock(), error, error, WHOLE)
    call = ask(target=limited(requests_per_minute=1))
    for _ in range(2):
        with pytest.raises(type(error)):
            await service(call)
    await (await service(call)).message()
    assert len(inner.calls) == 3


@pytest.mark.parametrize(("lacking", "limit"), [("requests", 60), ("tokens", 10_000)])
async def test_a_refusal_takes_nothing(lacking: str, limit: int) -> None:
    """When one of the two limits refuses, the other one is left as it was."""
    service, _, limiter = attempts(ManualClock(), WHOLE)
    call = ask(target=limited(requests_per_minute=60, tokens_per_minute=10_000))
    drain = Draw(f"provider:p {lacking}", limit, 9_999)
    now(limiter.buckets.take([drain]))
    with pytest.raises(RateLimited, match=lacking):
        await service(call)
    limiter.buckets.give_back([drain])
    looks = [Draw("provider:p requests", 60, 0), Draw("provider:p tokens", 10_000, 0)]
    assert [level.used_ns for level in now(limiter.buckets.take(looks))] == [0, 0]


async def test_limits_of_provider_and_deployment_both_hold() -> None:
    """All its deployments share the provider's; another provider has one of its own."""
    service, _, _ = attempts(ManualClock(), WHOLE)

    def target(provider: str, model: str) -> Call:
        rates = (
            RateLimit(scope=f"provider:{provider}", requests_per_minute=3),
            RateLimit(scope=f"deployment:{provider}/{model}", requests_per_minute=2),
        )
        return ask(target=Deployment(provider=provider, model=model, rates=rates))

    for _ in range(2):
        await (await service(target("p", "m1"))).message()
    with pytest.raises(RateLimited, match="deployment:p/m1"):
        await service(target("p", "m1"))
    await (await service(target("p", "m2"))).message()
    with pytest.raises(RateLimited, match="provider:p"):
        await service(target("p", "m2"))
    await (await service(target("q", "m1"))).message()


async def test_without_limits_nothing_is_asked() -> None:
    """Neither layer makes a bucket, nor a coroutine of its own."""
    clock = ManualClock()
    for made, call in (
        (attempts(clock, WHOLE), ask(target=limited())),
        (calls(clock, [], WHOLE), by()),
    ):
        service, _, limiter = made
        del limiter.buckets  # whoever asks now fails
        await (await service(call)).message()


# --- the caller's -----------------------------------------------------------------------------


async def test_a_principal_is_refused_once_for_the_whole_call() -> None:
    """Before anything else is asked; others are not touched."""
    clock = ManualClock()
    service, inner, limiter = calls(
        clock, [RateLimit(scope="user:*", requests_per_minute=2)], WHOLE
    )
    for _ in range(2):
        await (await service(by())).message()
    with pytest.raises(RateLimited, match="user:ann is limited to 2 requests") as refusal:
        await service(by())
    assert refusal.value.status == 429
    assert (len(inner.calls), limiter.refused) == (2, {"user": 1})
    await (await service(by(Principal(user_id="bob")))).message()
    clock.advance(refusal.value.retry_after_s or 0)
    await (await service(by())).message()


async def test_the_longest_wait_is_told() -> None:
    """Whoever comes back then finds room in all limits."""
    clock = ManualClock()
    rates = [
        RateLimit(scope="key:*", requests_per_minute=2),
        RateLimit(scope="user:*", requests_per_minute=1),
    ]
    service, _, _ = calls(clock, rates, WHOLE)
    await (await service(by())).message()
    with pytest.raises(RateLimited, match="user:ann") as refusal:
        await service(by())
    clock.advance(refusal.value.retry_after_s or 0)
    await (await service(by())).message()


async def test_what_all_attempts_used_is_settled() -> None:
    """At the end of the answer the reservation gives way to it."""
    service, _, limiter = calls(
        ManualClock(), [RateLimit(scope="user:*", tokens_per_minute=10_000)], WHOLE, used=40
    )
    reply = await service(by())
    assert left(limiter, "user:ann") == 10_000 - limiter.tokens(by(), "m")
    await reply.message()
    assert left(limiter, "user:ann") == 10_000 - 40


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (BudgetExhausted("gone"), False),
        (ModelNotFound("which?"), False),
        (AllProvidersUnavailable("all", (("p/m", CircuitOpen("rests")),)), False),
        (AllProvidersUnavailable("all", (("p/m", ConnectionLost("reset")),)), True),
        (ConnectionLost("reset"), True),
    ],
)
async def test_what_no_provider_saw_is_given_back(error: Exception, *, counts: bool) -> None:
    """The request too; the tokens of a call that failed in any case."""
    rate = RateLimit(scope="user:*", requests_per_minute=1, tokens_per_minute=10_000)
    service, _, limiter = calls(ManualClock(), [rate], error, WHOLE)
    with pytest.raises(type(error)):
        await service(by())
    assert left(limiter, "user:ann") == 10_000
    if counts:
        with pytest.raises(RateLimited):
            await service(by())
    else:
        await (await service(by())).message()


async def test_what_is_left_is_said_on_the_trail() -> None:
    """Of each unit the limit with the least left, and after a refusal as well."""
    rates = [
        RateLimit(scope="key:*", requests_per_minute=60, tokens_per_minute=6_000),
        RateLimit(scope="user:*", requests_per_minute=3),
    ]
    service, _, limiter = calls(ManualClock(), rates, WHOLE)
    call = by()
    tokens = limiter.tokens(call, "m")
    await (await service(call)).message()
    assert call.trail is not None
    assert call.trail.room == Allowance(Room(3, 2, 20.0), Room(6_000, 6_000 - tokens, tokens / 100))
    for _ in range(2):
        await (await service(by())).message()
    call = by()
    with pytest.raises(RateLimited):
        await service(call)
    assert call.trail is not None
    assert call.trail.room is not None
    assert call.trail.room.requests == Room(3, 0, 60.0)
