"""A provider's own limits are kept: refused here, with the wait, before the provider has to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scripted import text, whole
from tests.unit.layers.double import ENDS, WHOLE, Answer, Inner, ask, limited, live
from trunkline.accounting.estimate import Estimates
from trunkline.errors import CircuitOpen, ConnectionLost, RateLimited
from trunkline.layers.ratelimit import Bucket, Limiter, ratelimit
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import Call, Deployment, Limits, Prompt, say

ESTIMATES = Estimates()


def tokens_of(call: Call) -> int:
    """Return what is reserved for a call."""
    return ESTIMATES.prompt_tokens(call) + ESTIMATES.output_tokens(call, "p/m")


def layered(clock: ManualClock, *answers: Answer) -> tuple[Service, Inner, Limiter]:
    """Make the layer over a scripted service."""
    inner, limiter = Inner(*answers), Limiter(Estimates(), clock)
    return ratelimit(limiter)(inner), inner, limiter


def left(limiter: Limiter, target: Deployment) -> float:
    """Return how many tokens there are, counted by taking them."""
    bucket = limiter._buckets[target.provider, "tokens"]
    return bucket._left


@given(
    per_minute=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 300)), max_size=60),
)
def test_no_minute_sees_more_than_the_limit_and_a_burst(
    per_minute: int, steps: list[tuple[float, int]]
) -> None:
    """Whatever is asked and when: at most a full bucket plus what flowed back in that minute."""
    now_s = 0.0
    bucket = Bucket(per_minute, now_s)
    taken: list[tuple[float, int]] = []
    for gap_s, wanted in steps:
        now_s += gap_s
        units = min(wanted, per_minute)
        if not bucket.wait_s(units, now_s):
            bucket.take(units)
            taken.append((now_s, units))
    for start_s, _ in taken:
        minute = sum(units for at_s, units in taken if start_s <= at_s < start_s + 60)
        assert minute <= 2 * per_minute + 1e-3


@given(
    per_minute=st.integers(1, 100_000),
    taken=st.integers(0, 200_000),
    units=st.integers(1, 200_000),
    start_s=st.floats(0, 1e7),
)
def test_whoever_waits_as_told_is_let_in(
    per_minute: int, taken: int, units: int, start_s: float
) -> None:
    """The wait that is told is enough; rounding never asks for another moment."""
    bucket = Bucket(per_minute, start_s)
    bucket.take(taken)
    wait_s = bucket.wait_s(units, start_s)
    assert bucket.wait_s(units, start_s + wait_s) == 0


def test_a_full_bucket_lets_anything_pass_once() -> None:
    """What is larger than the whole limit passes when the bucket is full, and is paid off later."""
    bucket = Bucket(100, 0.0)
    assert bucket.wait_s(250, 0.0) == 0
    bucket.take(250)
    assert bucket.wait_s(250, 60.0) == pytest.approx(90)
    assert bucket.wait_s(1, 60.0) == pytest.approx(51 / 100 * 60)
    assert bucket.wait_s(250, 150.0) == 0


async def test_requests_beyond_the_limit_are_refused_with_the_wait() -> None:
    """The third of two per minute hears when to come again, and is let in then."""
    clock = ManualClock()
    service, inner, _ = layered(clock, WHOLE)
    call = ask(target=limited(requests_per_minute=2))
    for _ in range(2):
        await (await service(call)).message()
    with pytest.raises(RateLimited, match="2 requests per minute") as refusal:
        await service(call)
    assert refusal.value.retry_after_s == pytest.approx(30)
    assert len(inner.calls) == 2
    clock.advance(refusal.value.retry_after_s or 0)
    await (await service(call)).message()


async def test_the_estimate_is_reserved_and_then_corrected() -> None:
    """While a call runs its estimate is taken, after it what it used."""
    clock = ManualClock()
    service, _, limiter = layered(clock, WHOLE)
    call = ask(target=limited(tokens_per_minute=10_000))
    assert call.target is not None
    reply = await service(call)
    assert left(limiter, call.target) == 10_000 - tokens_of(call)
    await reply.message()
    assert left(limiter, call.target) == 10_000 - 3  # as `whole` reports


async def test_more_than_was_reserved_is_paid_off() -> None:
    """An answer longer than estimated delays those after it."""
    service, _, limiter = layered(ManualClock(), (text("h"), whole("i" * 9)))
    body = Prompt(messages=(say("user", "hi"),), max_output_tokens=1)
    call = ask(target=limited(tokens_per_minute=100), body=body)
    assert call.target is not None
    reply = await service(call)
    limiter.give_back(call.target, 100 - left(limiter, call.target))  # type: ignore[arg-type]
    await reply.message()
    assert left(limiter, call.target) == 100 + tokens_of(call) - 3


@pytest.mark.parametrize("how", ["truncated", "abandoned", "cancelled in mid-stream"])
async def test_an_answer_without_usage_keeps_its_reservation(how: str) -> None:
    """What began to be answered was counted by the provider, nobody knows how much."""
    service, _, limiter = layered(ManualClock(), ENDS[how][0])
    call = ask(target=limited(tokens_per_minute=10_000))
    assert call.target is not None
    await live(service, call, how)
    assert left(limiter, call.target) == 10_000 - tokens_of(call)


async def test_a_failed_attempt_gives_its_tokens_back() -> None:
    """The request was made and counts; its tokens were not used."""
    service, _, limiter = layered(ManualClock(), ConnectionLost("reset"), WHOLE)
    call = ask(target=limited(requests_per_minute=2, tokens_per_minute=10_000))
    assert call.target is not None
    with pytest.raises(ConnectionLost):
        await service(call)
    assert left(limiter, call.target) == 10_000
    await (await service(call)).message()
    with pytest.raises(RateLimited, match="requests"):
        await service(call)


async def test_what_we_refuse_ourselves_uses_nothing_up() -> None:
    """A resting deployment must not eat the limit of its neighbours at the same provider."""
    service, inner, _ = layered(ManualClock(), CircuitOpen("rests"), CircuitOpen("rests"), WHOLE)
    call = ask(target=limited(requests_per_minute=1))
    for _ in range(2):
        with pytest.raises(CircuitOpen):
            await service(call)
    await (await service(call)).message()
    assert len(inner.calls) == 3


@pytest.mark.parametrize("lacking", ["requests", "tokens"])
async def test_a_refusal_takes_nothing(lacking: str) -> None:
    """When one of the two limits refuses, the other one is left as it was."""
    clock = ManualClock()
    service, _, limiter = layered(clock, WHOLE)
    call = ask(target=limited(requests_per_minute=60, tokens_per_minute=10_000))
    assert call.target is not None
    await (await service(call)).message()
    before = {unit: bucket._left for (_, unit), bucket in limiter._buckets.items()}
    limiter._buckets["p", lacking].take(9_999)
    with pytest.raises(RateLimited, match=lacking):
        await service(call)
    limiter._buckets["p", lacking].take(-9_999)
    assert {unit: bucket._left for (_, unit), bucket in limiter._buckets.items()} == before


async def test_a_limit_is_the_providers() -> None:
    """All its deployments share it; another provider has one of its own."""
    service, _, _ = layered(ManualClock(), WHOLE)
    limits = Limits(requests_per_minute=1)
    one, two, other = (
        ask(target=Deployment(provider=provider, model=model, limits=limits))
        for provider, model in (("p", "m1"), ("p", "m2"), ("q", "m1"))
    )
    await (await service(one)).message()
    with pytest.raises(RateLimited):
        await service(two)
    await (await service(other)).message()


async def test_a_new_limit_does_not_forget_what_was_used() -> None:
    """A reloaded configuration changes the pace, it does not fill the bucket."""
    service, _, _ = layered(ManualClock(), WHOLE)
    await (await service(ask(target=limited(requests_per_minute=1)))).message()
    with pytest.raises(RateLimited) as refusal:
        await service(ask(target=limited(requests_per_minute=30)))
    assert refusal.value.retry_after_s == pytest.approx(2)


async def test_without_limits_nothing_is_counted() -> None:
    """No bucket is made for those who have none."""
    service, _, limiter = layered(ManualClock(), WHOLE)
    await (await service(ask(target=limited()))).message()
    assert limiter._buckets == {}
