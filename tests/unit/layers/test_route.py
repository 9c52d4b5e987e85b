"""The plan is walked until somebody begins to answer; the verdict says what became of it."""

import asyncio
from typing import Any

import pytest

from tests.scripted import end, finish, frame, text, usage
from tests.unit.layers.double import WHOLE, Answer, Inner, ask
from trunkline import errors
from trunkline.accounting.account import Account
from trunkline.config import BudgetRule
from trunkline.config.model import Group
from trunkline.errors import (
    AllProvidersUnavailable,
    BudgetExhausted,
    BudgetHeld,
    CircuitOpen,
    ConnectionLost,
    ContentBlocked,
    ContextTooLong,
    InputError,
    RateLimited,
    TrunklineError,
)
from trunkline.layers.route import Hedges, route
from trunkline.reply import Reply
from trunkline.routing.health import Health
from trunkline.routing.plan import Candidate, Plan, Skip
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import Call, Deployment, Frame, Mark, Trail


def planned(inner: Service, *notes: str | None) -> Service:
    """Route every call to `p0/m`, `p1/m`, ... with these notes."""
    plan = Plan(
        tuple(
            Candidate(Deployment(provider=f"p{n}", model="m"), note) for n, note in enumerate(notes)
        )
    )
    return route(lambda call: plan, Hedges(ManualClock(), Health()))(inner)


async def fail(*answers: Answer) -> tuple[TrunklineError, Inner, Call]:
    """Route a call to one candidate for each of the answers; return the verdict."""
    inner, call = Inner(*answers), ask(trail=Trail())
    with pytest.raises(TrunklineError) as caught:
        await planned(inner, *([None] * len(answers)))(call)
    return caught.value, inner, call


@pytest.mark.acceptance("A16", "A17")
async def test_the_next_candidate_is_asked_when_one_fails() -> None:
    """A failure before the first frame goes unseen; the trail tells of it."""
    inner, call = Inner(ConnectionLost("reset"), WHOLE), ask(trail=Trail())
    reply = await planned(inner, None, None, None)(call)
    assert (await reply.message()).text == "hi"
    assert reply.deployment.name == "p1/m"
    assert [seen.target.name for seen in inner.calls if seen.target] == ["p0/m", "p1/m"]
    assert call.trail is not None
    assert call.trail.route == ["p0/m: connection_lost", "p1/m: answered"]


async def test_what_differs_is_told_of_those_that_were_tried() -> None:
    """A note of a candidate that nobody needed is not a warning."""
    inner, call = Inner(ConnectionLost("reset"), WHOLE), ask(trail=Trail())
    await (await planned(inner, None, "m2 instead of m", "m3 instead of m")(call)).message()
    assert call.trail is not None
    assert call.trail.warnings == ["m2 instead of m"]


async def test_what_differs_is_told_of_the_first_as_well() -> None:
    """Also where it answers, and nobody else is there: the caller did not ask for it."""
    row, call = Deployment(provider="p", model="m2"), ask(trail=Trail())
    plan = Plan((Candidate(row, "m2 instead of m", "recovers"),))
    service = route(lambda call: plan, Hedges(ManualClock(), Health()))(Inner(WHOLE))
    await (await service(call)).message()
    assert call.trail is not None
    assert call.trail.warnings == ["m2 instead of m"]
    assert call.trail.route == ["p/m2: recovers", "p/m2: answered"]


FAIL_OVER = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, TrunklineError) and error.fail_over
]


@pytest.mark.parametrize("kind", FAIL_OVER, ids=lambda kind: kind.__name__)
async def test_every_error_marked_fail_over_fails_over(kind: type[TrunklineError]) -> None:
    """The class attribute decides."""
    inner = Inner(kind("no"), WHOLE)
    await (await planned(inner, None, None)(ask(trail=Trail()))).message()
    assert len(inner.calls) == 2


@pytest.mark.parametrize("kind", [InputError, errors.Refused, errors.RecordError])
async def test_other_errors_end_the_call(kind: type[TrunklineError]) -> None:
    """What another deployment cannot mend is raised at once, unchanged."""
    error = kind("no")
    verdict, inner, call = await fail(error, WHOLE)
    assert verdict is error
    assert len(inner.calls) == 1
    assert call.trail is not None
    assert call.trail.route == [f"p0/m: {kind.code}"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), LookupError()])
async def test_what_is_not_of_the_tree_passes(error: BaseException) -> None:
    """A cancellation is not a reason to ask somebody else."""
    inner = Inner(error, WHOLE)
    with pytest.raises(type(error)):
        await planned(inner, None, None)(ask(trail=Trail()))
    assert len(inner.calls) == 1


async def test_a_lone_error_is_raised_unchanged() -> None:
    """One candidate, one error: the very same, with no cause put on it."""
    error = ConnectionLost("reset")
    verdict, _, _ = await fail(error)
    assert verdict is error
    assert verdict.__cause__ is None
    assert verdict.__context__ is None


async def test_when_all_fail_every_cause_is_told() -> None:
    """Who failed and why, in order; the last one is the cause."""
    first, second = ConnectionLost("reset"), CircuitOpen("rests", retry_after_s=4)
    verdict, _, _ = await fail(first, second)
    assert isinstance(verdict, AllProvidersUnavailable)
    assert verdict.causes == (("p0/m", first), ("p1/m", second))
    assert verdict.__cause__ is second
    assert verdict.retry_after_s == 4
    assert str(verdict) == "all providers unavailable (p0/m: reset; p1/m: rests)"


async def test_the_same_failure_of_all_is_still_told_of_all() -> None:
    """Only refusals speak for each other, failures do not."""
    verdict, _, _ = await fail(ConnectionLost("reset"), ConnectionLost("reset"))
    assert isinstance(verdict, AllProvidersUnavailable)


@pytest.mark.parametrize("kind", [BudgetHeld, BudgetExhausted, RateLimited, ContextTooLong])
async def test_refusals_alike_are_one_refusal(kind: type[TrunklineError]) -> None:
    """The caller sees 402, 429 or 400, not 503; with several waits, the shortest."""
    refusals = [kind("no", retry_after_s=wait_s) for wait_s in (None, 3, 9)]
    verdict, _, _ = await fail(*refusals)
    assert verdict is refusals[1]


async def test_refusals_that_differ_are_told_of_all() -> None:
    """A limit here and a budget there is neither the one nor the other."""
    verdict, _, _ = await fail(RateLimited("later"), BudgetExhausted("gone"))
    assert isinstance(verdict, AllProvidersUnavailable)


@pytest.mark.parametrize("kind", [BudgetHeld, BudgetExhausted])
async def test_want_of_money_is_told_although_others_are_down(kind: type[TrunklineError]) -> None:
    """So the caller knows what keeps him from an answer; not where only one deployment is meant."""
    for scope, told in (("global", kind), ("provider:p1", AllProvidersUnavailable)):
        account = Account(BudgetRule(scope=scope, amount_nusd=10, period="total"))
        refusal = account.refuse(5, 10 if kind is BudgetExhausted else 0, 0)
        assert isinstance(refusal, kind)
        verdict, _, _ = await fail(CircuitOpen("rests", retry_after_s=0.1), refusal)
        assert isinstance(verdict, told)


async def test_an_empty_plan_is_a_clear_error() -> None:
    """Never an IndexError."""
    with pytest.raises(AllProvidersUnavailable, match="no deployment"):
        await planned(Inner(WHOLE))(ask(trail=Trail()))


# --- where the plan says where to go ----------------------------------------------------------

REFUSED = (frame("no", Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, *finish("content_filter").events),)
REFUSED_STREAM = (finish("content_filter"), usage(1), end())
CUT_STREAM = (text("We"), finish("content_filter"), end())


def turning(inner: Service, kind: type[TrunklineError] | None, **rules: Any) -> Service:
    """Route to `p0/m` and `p1/m` of a group; after an error of `kind` to `p8/m` and `p1/m`."""
    rows = [Candidate(Deployment(provider=f"p{n}", model="m")) for n in (0, 1, 8)]
    group = Group(name="g", deployments=(), **rules)

    def turn(error: TrunklineError) -> tuple[Candidate, ...] | None:
        return (rows[2], rows[1]) if kind is not None and isinstance(error, kind) else None

    plan = Plan((rows[0], rows[1]), (Skip("p7/m", "takes no tools"),), group, turn)
    return route(lambda call: plan, Hedges(ManualClock(), Health()))(inner)


class Begun(Inner):
    """Answers as the transport does: with what came up to the first frame that says something."""

    async def __call__(self, call: Call) -> Reply:
        """Play the next answer."""
        reply, steps = await super().__call__(call), self.scripts[-1].steps
        while isinstance(step := steps.popleft(), Frame):
            reply._head.insert(0, step)
            if step.mark & (Mark.SHOWN | Mark.FINISH):
                break
        return reply


def asked(inner: Inner) -> list[str]:
    """Return who was asked, in order."""
    return [call.target.provider for call in inner.calls if call.target]


async def test_the_plan_may_say_where_to_go_instead() -> None:
    """After an error that is of its kind, and nobody is asked twice."""
    inner, call = Inner(RateLimited("no"), ConnectionLost("x"), WHOLE), ask(trail=Trail())
    await (await turning(inner, RateLimited)(call)).message()
    assert asked(inner) == ["p0", "p8", "p1"]
    inner = Inner(ConnectionLost("x"), RateLimited("no"), WHOLE)
    await (await turning(inner, RateLimited)(ask(trail=Trail()))).message()
    assert asked(inner) == ["p0", "p1", "p8"]


async def test_what_was_skipped_and_why_one_was_chosen_is_on_the_trail() -> None:
    """Before anybody is asked."""
    inner, call = Inner(WHOLE), ask(trail=Trail())
    chosen = Candidate(Deployment(provider="p0", model="m"), reason="latency 0.2 s, best of 2")
    plan = Plan((chosen,), (Skip("p7/m", "takes no tools"),))
    await (await route(lambda call: plan, Hedges(ManualClock(), Health()))(inner)(call)).message()
    assert call.trail is not None
    assert call.trail.route == [
        "p7/m: skipped, takes no tools",
        "p0/m: latency 0.2 s, best of 2",
        "p0/m: answered",
    ]


class Noting(Inner):
    """Notes at each attempt whether others were left."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self.others: list[bool] = []

    async def __call__(self, call: Call) -> Reply:
        """Play the next answer."""
        assert call.trail is not None
        self.others.append(call.trail.others)
        return await super().__call__(call)


async def left(plan: Plan, health: Health) -> list[bool]:
    """Have all fail; return for each that was asked whether others were left."""
    inner = Noting(ConnectionLost("reset"))
    service = route(lambda call: plan, Hedges(ManualClock(), health))(inner)
    with pytest.raises(TrunklineError):
        await service(ask(trail=Trail()))
    return inner.others


@pytest.mark.parametrize("group", [None, Group(name="g", deployments=())])
async def test_an_attempt_knows_whether_others_are_left(group: Group | None) -> None:
    """Who rests does not count, for he will refuse."""
    rows = tuple(Candidate(Deployment(provider=f"p{n}", model="m")) for n in range(3))
    health = Health()
    assert await left(Plan(rows, group=group), health) == [True, True, False]
    assert await left(Plan(rows[:1], group=group), health) == [False]
    health.of("p2/m").circuit.adopt("limited", 60.0, "upstream_rate_limited", 0.0)
    assert await left(Plan(rows, group=group), health) == [True, False, False]


async def test_groups_for_want_of_room_are_others_too() -> None:
    """Until they have been asked."""
    rows = [Candidate(Deployment(provider=f"p{n}", model="m")) for n in range(2)]
    group = Group(name="g", deployments=(), rate_limit_fallbacks=("h",))
    plan = Plan((rows[0],), (), group, lambda error: (rows[1],))
    assert await left(plan, Health()) == [True, False]


async def test_a_call_is_not_walked_for_ever() -> None:
    """However many deployments there are."""
    inner = Inner(ConnectionLost("reset"))
    with pytest.raises(AllProvidersUnavailable):
        await planned(inner, *[None] * 50)(ask(trail=Trail()))
    assert len(inner.calls) == 16


BLOCKS: dict[str, Answer] = {
    "an error": ContentBlocked("no"),
    "a whole answer": REFUSED,
    "a stream before its first word": REFUSED_STREAM,
}


@pytest.mark.parametrize("case", list(BLOCKS))
async def test_a_refusal_is_an_answer_unless_the_group_says_otherwise(case: str) -> None:
    """Then its other groups are asked, and the refused attempt is settled as it was."""
    refusal = BLOCKS[case]
    inner = Begun(refusal, WHOLE)
    if isinstance(refusal, ContentBlocked):
        with pytest.raises(ContentBlocked):
            await turning(inner, None)(ask(trail=Trail()))
    else:
        reply = await turning(inner, None)(ask(trail=Trail()))
        await reply.message()
        assert reply.finish == "content_filter"
    assert len(inner.calls) == 1
    inner, rules = Begun(refusal, WHOLE), {"content_policy_fallbacks": ("other",)}
    reply = await turning(inner, ContentBlocked, **rules)(ask(trail=Trail(), stream=True))
    assert (await reply.message()).text == "hi"
    assert asked(inner) == ["p0", "p8"]
    assert inner.open_wires == 0


@pytest.mark.parametrize("case", list(BLOCKS))
async def test_the_refusal_is_the_answer_after_all(case: str) -> None:
    """When those who were asked instead fail: not that all are unavailable."""
    inner = Begun(BLOCKS[case], ConnectionLost("reset"))
    service = turning(inner, ContentBlocked, content_policy_fallbacks=("other",))
    if case == "an error":
        with pytest.raises(ContentBlocked):
            await service(ask(trail=Trail()))
    else:
        reply = await service(ask(trail=Trail()))
        await reply.message()
        assert (reply.finish, reply.outcome) == ("content_filter", "complete")
        assert reply.deployment.name == "p0/m"
    assert asked(inner) == ["p0", "p8", "p1"]
    assert inner.open_wires == 0


async def test_no_other_refusal_takes_its_place() -> None:
    """The first one is about what was asked for."""
    inner = Begun(REFUSED, errors.Refused("no"))
    service = turning(inner, ContentBlocked, content_policy_fallbacks=("other",))
    reply = await service(ask(trail=Trail()))
    await reply.message()
    assert reply.deployment.name == "p0/m"
    assert asked(inner) == ["p0", "p8"]


async def test_a_refusal_after_the_first_word_is_shown() -> None:
    """What was shown cannot be taken back."""
    inner = Begun(CUT_STREAM, WHOLE)
    service = turning(inner, ContentBlocked, content_policy_fallbacks=("other",))
    reply = await service(ask(trail=Trail(), stream=True))
    assert (await reply.message()).text == "We"
    assert len(inner.calls) == 1
