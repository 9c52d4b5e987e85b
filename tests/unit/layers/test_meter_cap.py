"""Where a budget caps answers, a call that is too long for it goes out with a lower cap."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.layers.double import PRICE, WHOLE, Inner, Pages, ask, read
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.dialects import load
from trunkline.errors import BudgetExhausted, BudgetHeld, PriceUnknown
from trunkline.layers.meter import meter
from trunkline.testing import ManualClock
from trunkline.types import Begun, Call, Chat, Deployment, Price, Prompt, Quote, Trail, say
from trunkline.types.prompt import Reasoning

TARGET = Deployment(provider="p", model="m", price=PRICE)
TOKEN_NUSD = PRICE.output_nusd // 10**6
HELD_ELSEWHERE = (
    load("anthropic")
    .read(b'{"thread":"x","messages":[{"role":"user","content":"hi"}],"max_tokens":4000}')
    .body
)
"""What nobody here can read: the provider has the turns before."""


def capped(tokens: int | None, **fields: Any) -> Prompt:
    """Make a request with a cap of its own."""
    return Prompt(messages=(say("user", "hi"),), max_output_tokens=tokens, **fields)


def costs(tokens: int, *, proven: bool = False) -> int:
    """Return what a call is held for whose answer has so many tokens."""
    quote = Estimates(proving=True).quote(ask(body=capped(tokens)), TARGET)
    nusd = quote.proven_nusd if proven else quote.estimate_nusd
    assert nusd is not None
    return nusd


def capping(amount_nusd: int, scope: str = "global", **fields: Any) -> BudgetRule:
    """Make a budget that caps answers."""
    told = {"cap_output": True, "period": "total", **fields}
    return BudgetRule(scope=scope, amount_nusd=amount_nusd, **told)


class Bench:
    """A meter before some budgets."""

    def __init__(self, *rules: BudgetRule) -> None:
        clock = ManualClock()
        self.ledger, self.book, self.inner = Ledger(rules, clock), Pages(), Inner(WHOLE)
        self.trail = Trail()
        self.service = meter(self.book, Estimates(proving=True), clock)(self.inner)

    async def send(self, body: Any, target: Deployment = TARGET) -> int | None:
        """Make a call to its end; return the cap it was sent with."""
        call = ask(id="c", body=body, target=target, trail=self.trail, tags=("t",))
        tab = self.ledger.open(call)
        await read(await self.service(ask(**fields_of(call), tab=tab)))
        return self.inner.calls[-1].body.max_output_tokens


def fields_of(call: Call) -> dict[str, Any]:
    """Return what makes a call, without its tab."""
    return {name: getattr(call, name) for name in call.__struct_fields__ if name != "tab"}


@pytest.mark.parametrize("own", [1000, None], ids=["lowered", "given"])
async def test_an_answer_is_capped_to_what_is_left(own: int | None) -> None:
    """Lower than the call's own cap or instead of none; the hold is for just that, the route says
    so."""
    bench = Bench(capping(costs(100) + TOKEN_NUSD - 1))
    assert await bench.send(capped(own)) == 100
    assert bench.book.of(Begun)[0].hold_nusd == costs(100)
    assert bench.trail.route == ["p/m: output_capped 100"]


async def test_what_fits_goes_out_as_it_is() -> None:
    """To the nano-dollar."""
    bench = Bench(capping(costs(100)))
    assert await bench.send(capped(100)) == 100
    assert bench.trail.route == []


async def test_a_strict_budget_caps_to_the_proven_bound() -> None:
    """Of a call with a cap of its own; of others it proves nothing."""
    rule = capping(costs(50, proven=True), mode="strict")
    assert await Bench(rule).send(capped(1000)) == 50
    with pytest.raises(PriceUnknown):
        await Bench(rule).send(capped(None))


async def test_each_choice_has_its_share() -> None:
    """All together fit."""
    bench = Bench(capping(costs(100)))
    assert await bench.send(capped(1000, choices=3)) == 33


@pytest.mark.parametrize(
    ("tokens", "body"),
    [
        (15, capped(1000)),
        (47, capped(1000, choices=3)),
        (1024, capped(4000, reasoning=Reasoning(budget_tokens=1024))),
        (1039, capped(4000, reasoning=Reasoning(budget_tokens=1024))),
        (100, HELD_ELSEWHERE),
    ],
    ids=["short", "short for each", "only thoughts", "hardly more", "unreadable"],
)
async def test_no_answer_worth_having_is_refused(tokens: int, body: Any) -> None:
    """As without; nothing is sent, and nothing stays held."""
    bench = Bench(capping(costs(tokens)))
    with pytest.raises(BudgetExhausted):
        await bench.send(body)
    assert (bench.inner.calls, bench.trail.route) == ([], [])
    assert bench.ledger.accounts()[0].held_nusd == 0


async def test_thoughts_that_fit_are_no_hindrance() -> None:
    """Where there is room for an answer beside them."""
    bench = Bench(capping(costs(1040)))
    assert await bench.send(capped(4000, reasoning=Reasoning(budget_tokens=1024))) == 1040


@pytest.mark.parametrize("amounts", [(300, 200, 100), (100, 200, 300), (200, 100, 300)])
async def test_the_poorest_budget_decides(amounts: tuple[int, ...]) -> None:
    """Whatever their order; one that does not cap and has enough does not matter."""
    scopes = ("global", "tag:t", "provider:p")
    rules = [capping(costs(n), scope) for n, scope in zip(amounts, scopes, strict=True)]
    bench = Bench(*rules, capping(10**12, "deployment:p/m", cap_output=False))
    assert await bench.send(capped(1000)) == 100


@pytest.mark.parametrize("plain", [100, 999], ids=["poorer", "richer"])
@pytest.mark.parametrize("first", ["global", "tag:t"])
async def test_a_budget_that_does_not_cap_refuses(first: str, plain: int) -> None:
    """Although the call would fit there once another budget has capped it."""
    second = {"global": "tag:t", "tag:t": "global"}[first]
    rules = capping(costs(500), first), capping(costs(plain), second, cap_output=False)
    with pytest.raises(BudgetExhausted, match=second):
        await Bench(*rules).send(capped(1000))


async def test_free_answers_and_unknown_prices_are_not_capped() -> None:
    """There is nothing to save."""
    free = Deployment(provider="p", model="m", price=Price(input_nusd=0, output_nusd=0))
    with pytest.raises(BudgetExhausted):
        await Bench(capping(0)).send(capped(1000), free)
    with pytest.raises(BudgetExhausted):
        await Bench(capping(0)).send(capped(1000), Deployment(provider="p", model="m"))


async def test_who_comes_too_late_is_refused() -> None:
    """Where what is left is taken each time before it is asked for, that is the end."""
    bench = Bench(capping(costs(1000)))
    asked: list[int | None] = []

    class Robbed:
        async def begin(self, deployment: Deployment, quote: Quote) -> Any:
            asked.append(quote.estimate_nusd)
            await hold(bench.ledger, costs(900) if len(asked) == 1 else costs(16))
            return await bench.ledger.open(ask()).begin(deployment, quote)

    call = ask(target=TARGET, tab=Robbed(), trail=bench.trail, body=capped(1000))
    with pytest.raises(BudgetHeld):
        await bench.service(call)
    assert 1 < len(asked) <= 5
    assert asked == sorted(asked, key=lambda nusd: -(nusd or 0))
    assert bench.trail.route == []


async def hold(ledger: Ledger, nusd: int) -> None:
    """Take money as another call does; nothing where there is too little."""
    with contextlib.suppress(BudgetExhausted, BudgetHeld):
        await ledger.open(ask()).begin(TARGET, Quote(nusd, nusd))


async def test_many_at_once_never_hold_more_than_there_is() -> None:
    """Money for five answers and a half is five whole ones and one that is capped."""
    bench = Bench(capping(5 * costs(100) + costs(50)))
    gate = asyncio.Event()

    async def one() -> int | None:
        call = ask(id="c", body=capped(100), target=TARGET, trail=Trail())
        tab = bench.ledger.open(call)
        try:
            reply = await bench.service(ask(**fields_of(call), tab=tab))
        except (BudgetExhausted, BudgetHeld):
            return None
        cap = bench.book.of(Begun)[-1].hold_nusd
        await gate.wait()
        await read(reply)
        return cap

    calls = [asyncio.create_task(one()) for _ in range(20)]
    waiting = set(calls)
    while len(waiting) > 6:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    gate.set()
    holds = sorted(nusd for nusd in await asyncio.gather(*calls) if nusd)
    assert holds == [costs(50), *[costs(100)] * 5]


@given(st.integers(0, 10**9), st.integers(1, 5000), st.integers(1, 4), st.booleans())
def test_a_cap_is_the_largest_that_fits(
    left_nusd: int, own: int, choices: int, proven: bool
) -> None:
    """Its quote is within what is left; that of one token more is not."""
    estimates = Estimates(proving=True)

    def nusd(cap: int) -> int:
        quote = estimates.quote(ask(body=capped(cap, choices=choices)), TARGET)
        found = quote.proven_nusd if proven else quote.estimate_nusd
        assert found is not None
        return found

    call: Chat = ask(body=capped(own, choices=choices))
    if nusd(own) <= left_nusd:
        return
    cap = estimates.cap(call, TARGET, left_nusd, proven=proven)
    if cap is None:
        assert nusd(16) > left_nusd
    else:
        assert nusd(cap) <= left_nusd < nusd(cap + 1)
