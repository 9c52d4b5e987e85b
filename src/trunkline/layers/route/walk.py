"""One call's way along its plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from trunkline.errors import ContentBlocked, TrunklineError, code_of
from trunkline.layers.route.hedge import Hedge, Hedges, Leg, answered, race
from trunkline.layers.route.onward import Onward
from trunkline.layers.route.verdict import verdict
from trunkline.reply import Reply
from trunkline.routing.plan import Candidate, Plan
from trunkline.service import Service
from trunkline.types import Call, Chat, Deployment, Finish, Mark, Trail

MOST_ASKED = 16
"""So many deployments are asked for one call at most, however many there are."""


class Walk:
    """Asks one candidate after the other, each at most once."""

    __slots__ = (
        *("_at", "_call", "_causes", "_hedges", "_inner", "_plan", "_refusal", "_trail"),
        "_way",
    )

    def __init__(self, inner: Service, call: Call, plan: Plan, hedges: Hedges) -> None:
        trail = call.trail
        assert trail is not None
        self._inner = inner
        self._call = call
        self._plan = plan
        self._hedges = hedges
        self._trail: Trail = trail
        self._way = plan.candidates
        self._at = 0
        self._causes: list[tuple[str, TrunklineError]] = []
        self._refusal: Callable[[], Reply] | None = None
        for skip in plan.skipped:
            trail.route.append(f"{skip.name}: skipped, {skip.why}")

    async def answer(self, failed: TrunklineError | None = None) -> Reply:
        """Return the first answer; where the first candidate `failed` already, by the others.

        Raises:
            TrunklineError: nobody gave one, and nothing was shown to the caller.
        """
        if failed is not None:
            self._failed(self._way[0].deployment.name, failed)
        group = self._plan.group
        hedge = None
        if group is not None and group.hedge is not None:
            hedge = self._hedges.of(group.name, group.hedge, stream=self._call.stream)
        try:
            reply = await self._first(self._call, hedge)
        except TrunklineError:
            if self._refusal is None:
                raise
            reply = None
        if reply is not None:
            call = self._call
            if group is None or group.midstream != "continue" or not call.stream:
                return reply
            return Onward.of(reply, call, self.go_on) if isinstance(call, Chat) else reply
        if self._refusal is not None:
            refused = self._refusal()
            self._trail.route.append(f"{refused.deployment.name}: its refusal is the answer")
            return refused
        raise verdict(self._causes)

    async def go_on(
        self, call: Call, error: TrunklineError, able: Callable[[Deployment], bool]
    ) -> Reply | None:
        """Return an answer to `call` by one of those left that are `able`; None = nobody is.

        Args:
            error: what an answer broke off with.
        """
        self._turn(error)
        self._way = tuple(one for one in self._way[self._at :] if able(one.deployment))
        self._at = 0
        try:
            return await self._first(call, None)
        except TrunklineError:
            return None

    async def _first(self, call: Call, hedge: Hedge | None) -> Reply | None:
        """Return the first answer of those who are left; None where all fail over."""
        while (candidate := self._next()) is not None:
            if candidate.reason:
                self._trail.route.append(f"{candidate.deployment.name}: {candidate.reason}")
            if candidate.note:
                self._trail.warnings.append(candidate.note)
            if hedge is None:
                reply = await self._ask(call, candidate)
            else:
                reply = await self._ask_in_time(call, candidate, hedge)
                hedge = None
            if reply is not None and not await self._is_refused(reply):
                self._trail.route.append(f"{reply.deployment.name}: answered")
                return reply
        return None

    def _next(self) -> Candidate | None:
        while self._at < len(self._way) and len(self._causes) < MOST_ASKED:
            candidate = self._way[self._at]
            self._at += 1
            if self._is_new(candidate):
                self._trail.others = self._may_turn() or self._hedges.any_awake(
                    each for each in self._way[self._at :] if self._is_new(each)
                )
                return candidate
        return None

    def _may_turn(self) -> bool:
        """Whether other groups are asked when there is no room here, and were not yet."""
        plan = self._plan
        fallbacks = plan.group is not None and plan.group.rate_limit_fallbacks
        return bool(fallbacks) and self._way is plan.candidates

    def _is_new(self, candidate: Candidate) -> bool:
        return not self._causes or candidate.deployment.name not in dict(self._causes)

    async def _ask(self, call: Call, candidate: Candidate) -> Reply | None:
        """Return the candidate's answer; None where it fails over."""
        target = candidate.deployment
        try:
            return await self._inner(replace(call, target=target))
        except TrunklineError as error:
            self._failed(target.name, error)
            return None

    def _failed(self, name: str, error: TrunklineError) -> None:
        """Note a failure; raise it where nobody else may be asked."""
        self._trail.route.append(f"{name}: {error.code}")
        self._causes.append((name, error))
        if not self._turn(error) and not error.fail_over:
            raise error

    def _turn(self, error: TrunklineError) -> bool:
        """Go another way if the plan has one for this error."""
        way = self._plan.instead(error)
        if way is None:
            return False
        self._way, self._at = way, 0
        return True

    # --- a refusal that may not be the answer -------------------------------------------------

    async def _is_refused(self, reply: Reply) -> bool:
        """Whether nothing is shown yet, the provider refused, and other groups are asked then.

        The refusal is kept: it is the answer if nobody else gives one.
        """
        group = self._plan.group
        if group is None or not group.content_policy_fallbacks:
            return False
        name = reply.deployment.name
        try:
            if not _refuses(reply):
                return False
            kept = await _kept(reply)
        except TrunklineError as error:
            self._failed(name, error)
            return True
        self._refusal = self._refusal or kept
        blocked = ContentBlocked(f"{name} refused by its content policy")
        blocked.deployment = name
        self._failed(name, blocked)
        return True

    # --- a second attempt when the first is late ----------------------------------------------

    async def _ask_in_time(self, call: Call, first: Candidate, hedge: Hedge) -> Reply | None:
        """Ask the candidate, and the next one as well if it is late."""
        clock = self._hedges.clock
        started_s = clock.monotonic_s()
        wait_s, names = hedge.wait_s, [first.deployment.name]
        if wait_s is None:
            reply = await self._ask(call, first)
        else:

            def ask_another() -> Awaitable[Reply] | None:
                other = self._take_other(hedge)
                if other is None:
                    return None
                names.append(other.name)
                self._trail.route.append(f"{other.name}: asked as well after {wait_s:.2f} s")
                return self._inner(replace(call, target=other))

            first_call = replace(call, target=first.deployment)
            legs, winner = await race(self._inner(first_call), ask_another, wait_s, clock)
            reply = self._settled(list(zip(names, legs, strict=True)), winner)
        if reply is not None:
            hedge.learn(clock.monotonic_s() - started_s)
        return reply

    def _take_other(self, hedge: Hedge) -> Deployment | None:
        """Take the next candidate of the same group out of the way, if it may be asked now."""
        for at in range(self._at, len(self._way)):
            other = self._way[at]
            if other.note is None and self._is_new(other) and hedge.take(other.deployment.name):
                self._way = self._way[:at] + self._way[at + 1 :]
                return other.deployment
        return None

    def _settled(self, legs: list[tuple[str, Leg]], winner: Leg | None) -> Reply | None:
        """Note what became of each attempt; return the one answer, if there is any."""
        for name, leg in legs:
            if leg is winner:
                continue
            if leg.cancelled() or answered(leg):
                self._trail.route.append(f"{name}: cancelled, the other was first")
            elif (error := leg.exception()) is not None and winner is not None:
                self._trail.route.append(f"{name}: {code_of(error)}")
            elif isinstance(error, TrunklineError):
                self._failed(name, error)
            elif error is not None:
                raise error
        if winner is None:
            return None
        reply = winner.result()
        attempts = self._trail.attempts  # the one that answered stands last
        for at in range(len(attempts) - 1, -1, -1):
            if attempts[at].deployment == reply.deployment.name:
                attempts.append(attempts.pop(at))
                break
        return reply


def _refuses(reply: Reply) -> bool:
    """Whether what came so far, of which nothing is shown, says that the provider refuses."""
    return any(
        isinstance(event, Finish) and event.reason == "content_filter"
        for frame in reply.waiting
        if reply.waiting[-1].mark & Mark.FINISH
        for event in reply.events(frame)
    )


async def _kept(reply: Reply) -> Callable[[], Reply]:
    """Read an answer to its end, so that it is settled; return what gives it once more."""
    async with reply:
        frames = [frame async for frame in reply]
    return partial(Reply, _Nothing(), reply.deployment, head=frames, headers=reply.headers)


class _Nothing:
    """The source of an answer whose frames are all there."""

    async def next(self) -> None:
        """Return the end."""

    def close(self) -> None:
        """Do nothing: there is no wire."""

    async def wait_closed(self) -> None:
        """Do nothing."""
