"""An answer that broke off goes on: who is asked, with what, and how it all ends."""

import gc
from typing import Any

import pytest

from tests.scripted import SILENCE, Step, end, finish, text, usage
from tests.unit.layers.double import Answer, Inner, ask, read, settle
from trunkline.config.model import Group
from trunkline.errors import (
    BudgetExhausted,
    ConnectionLost,
    ContentBlocked,
    IdleTimeout,
    Refused,
    ReplyClosed,
)
from trunkline.layers.route import Hedges, route
from trunkline.reply import Reply
from trunkline.routing.health import Health
from trunkline.routing.plan import Candidate, Plan
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import (
    Attempt,
    Call,
    Deployment,
    OutputFormat,
    Prompt,
    Trail,
    Usage,
    say,
)

LOST = ConnectionLost("reset")
BROKEN = (text("One "), text("two "), LOST)
REST = (text("three"), finish(), usage(2), end())


class Metered(Inner):
    """Notes each attempt, with what it used, as the meter does."""

    async def __call__(self, call: Call) -> Reply:
        """Play the next answer."""
        assert call.trail is not None
        assert call.target is not None
        attempt = Attempt(n=len(call.trail.attempts) + 1, deployment="", started_ns=0)
        attempt.usage = Usage(prompt_tokens=10, completion_tokens=4)
        call.trail.attempts.append(attempt)
        return await super().__call__(call)


def onward(inner: Service, able: str = "yyy") -> Service:
    """Route to one deployment for each letter; those with a `y` take a beginning."""
    rows = [
        Deployment(provider=f"p{n}", model="m", quirks=frozenset({"prefix"} if one == "y" else {}))
        for n, one in enumerate(able)
    ]
    group = Group(name="g", deployments=tuple(rows), midstream="continue")
    plan = Plan(tuple(map(Candidate, rows)), group=group)
    return route(lambda call: plan, Hedges(ManualClock(), Health()))(inner)


def request(**fields: Any) -> Call:
    """Ask for a stream."""
    body = Prompt(**{"messages": (say("user", "hi"),), **fields})
    return ask(trail=Trail(), stream=True, body=body)


async def test_the_next_goes_on_from_the_words() -> None:
    """Without blanks at their end, with what is left of the cap; usage is that of all attempts."""
    inner, call = Metered(BROKEN, REST), request(max_output_tokens=50)
    reply = await onward(inner)(call)
    assert (await reply.message()).text == "One two three"
    assert (inner.calls[0].partial, inner.calls[1].partial) == ("", "One two")
    assert inner.calls[1].body.max_output_tokens == 46
    assert reply.usage == Usage(prompt_tokens=20, completion_tokens=8)
    assert (reply.outcome, reply.finish, reply.deployment.name) == ("complete", "stop", "p0/m")
    assert call.trail is not None
    assert call.trail.route == [
        "p0/m: answered",
        "p0/m: connection_lost in its answer",
        "p1/m: answered",
    ]
    assert call.trail.warnings == ["p0/m broke off (connection_lost), p1/m went on with its answer"]


async def test_it_may_break_off_again() -> None:
    """All words so far are handed on, to deployments that were not asked before."""
    inner = Metered(BROKEN, (text("three "), IdleTimeout("silence")), (text("four"), *REST[1:]))
    reply = await onward(inner)(request())
    assert (await reply.message()).text == "One two three four"
    assert inner.calls[2].partial == "One two three"
    assert [call.target.provider for call in inner.calls if call.target] == ["p0", "p1", "p2"]


async def test_who_is_not_known_to_go_on_is_left_out() -> None:
    """He would begin anew."""
    inner = Metered(BROKEN, REST)
    reply = await onward(inner, "yny")(request())
    await read(reply)
    assert [call.target.provider for call in inner.calls if call.target] == ["p0", "p2"]


@pytest.mark.parametrize("refusal", [Refused("no prefix"), BudgetExhausted("gone"), LOST])
async def test_when_nobody_goes_on_the_first_error_is_raised(refusal: Exception) -> None:
    """It is what broke the answer."""
    broken = IdleTimeout("silence")
    inner = Metered((text("One "), broken), refusal)
    reply = await onward(inner)(request())
    with pytest.raises(IdleTimeout) as caught:
        await read(reply)
    assert caught.value is broken
    assert (reply.outcome, reply.error) == ("failed", broken)
    assert inner.open_wires == 0


NOT: dict[str, tuple[dict[str, object], tuple[Step, ...]]] = {
    "JSON": ({"output_format": OutputFormat()}, BROKEN),
    "several choices": ({"choices": 2}, BROKEN),
    "a beginning by the caller": (
        {"messages": (say("user", "hi"), say("assistant", "He"))},
        BROKEN,
    ),
    "the provider's policy": ({}, (text("One "), ContentBlocked("no"))),
    "after its finish": ({}, (text("One "), finish(), LOST)),
}


@pytest.mark.parametrize("case", list(NOT))
async def test_what_is_not_gone_on_with(case: str) -> None:
    """The error ends it, nobody else is asked."""
    fields, steps = NOT[case]
    inner = Metered(steps, REST)
    reply = await onward(inner)(request(**fields))
    with pytest.raises((ConnectionLost, ContentBlocked)):
        await read(reply)
    assert len(inner.calls) == 1


@pytest.mark.parametrize("steps", [(text("h"), SILENCE), BROKEN])
async def test_a_reply_that_is_dropped_settles(steps: Answer) -> None:
    """And warns, as any reply does."""
    inner = Metered(steps, (text("h"), SILENCE))
    replies = [await onward(inner)(request())]
    with pytest.warns(ResourceWarning, match="dropped"):
        replies.clear()
    gc.collect()
    assert inner.open_wires == 0


async def test_closing_ends_the_attempt_under_way() -> None:
    """Whoever reads on is told."""
    inner = Metered(BROKEN, (text("three"), SILENCE))
    reply = await onward(inner)(request())
    for _ in range(4):
        await anext(reply)
    await reply.aclose()
    await settle()
    assert inner.open_wires == 0
    assert [script.said_goodbye for script in inner.scripts] == [0, 1]
    with pytest.raises(ReplyClosed):
        await anext(reply)
