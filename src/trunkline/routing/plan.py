"""From a call to the deployments to try, in order, with a reason for whatever was left out.

What does not depend on a call is worked out once for each name and kept for a minute, because some
prices change with the hour of the day. A name whose order is fixed costs a look-up; else the
strategies of its groups choose for each call, by what is known of the deployments then.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import isfinite
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trunkline.clock import Clock, SystemClock
from trunkline.config import Config
from trunkline.config.model import Group, Strategy
from trunkline.errors import (
    CapabilityMissing,
    ContentBlocked,
    ContextTooLong,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TrunklineError,
    UpstreamRateLimited,
)
from trunkline.routing.able import Skip
from trunkline.routing.facts import facts_of
from trunkline.routing.health import Health
from trunkline.routing.kinds import fitting
from trunkline.routing.names import Candidate, Leg, Names
from trunkline.routing.strategies import Chance, Facts, Member, rank, say, silent
from trunkline.routing.way import Way
from trunkline.types import Call, Deployment, Wire

__all__ = ["Candidate", "Explanation", "Plan", "Planner", "Skip", "Standing"]

_MINUTE_NS = 60_000_000_000
_CACHED_PLANS = 4096
_NO_ROOM = (UpstreamRateLimited, QuotaExhausted, RateLimited, Overloaded)

Turn = Callable[[TrunklineError], tuple[Candidate, ...] | None]


class Plan(Struct, frozen=True):
    """Whom to ask for one call."""

    candidates: tuple[Candidate, ...]
    """Best first, at least one. Who recovers or has gone silent comes after all that are well, and
    who rests comes last: nobody knows how long the others will take."""
    skipped: tuple[Skip, ...] = ()
    """Who cannot take this call."""
    group: Group | None = None
    """The group that was asked for."""
    turn: Turn | None = None
    """Where to go after errors for which the group names other groups."""

    def instead(self, error: TrunklineError) -> tuple[Candidate, ...] | None:
        """Return whom to ask instead of the rest after `error`, those tried already included.

        None = simply the next. A prompt that was too long for one is not for those whose context
        is no longer.
        """
        if self.turn is not None and (way := self.turn(error)) is not None:
            return way
        if isinstance(error, ContextTooLong):
            rows = [candidate.deployment for candidate in self.candidates]
            window = next((r.context_window for r in rows if r.name == error.deployment), None)
            if window is not None:
                return tuple(
                    candidate
                    for candidate in self.candidates
                    if (candidate.deployment.context_window or sys.maxsize) > window
                )
        return None


class Standing(Struct, frozen=True):
    """Where a deployment stands for one call, and why."""

    name: str
    why: str
    score: float
    """By the strategy, the less the better; infinite = not known."""
    tier: int
    note: str | None = None
    """What is different from what was asked for."""


class Explanation(Struct, frozen=True):
    """What a plan is made of, for people."""

    group: str | None
    strategy: Strategy
    candidates: tuple[Standing, ...]
    """In the order in which they would be asked."""
    skipped: tuple[Skip, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; a score that is not known is null."""
        return {
            "group": self.group,
            "strategy": self.strategy,
            "candidates": [
                {
                    "deployment": one.name,
                    "tier": one.tier,
                    "score": one.score if isfinite(one.score) else None,
                    "why": one.why,
                    "note": one.note,
                }
                for one in self.candidates
            ],
            "skipped": [{"deployment": skip.name, "why": skip.why} for skip in self.skipped],
        }


class Planner:
    """Makes plans for one configuration.

    Args:
        health: what is known of the deployments; outlives this planner.
        chance: returns a float in [0, 1).
    """

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        health: Health | None = None,
        chance: Chance = random.random,
    ) -> None:
        self._config = config
        self._clock = clock = clock or SystemClock()
        self._now_ns = clock.now_ns
        self._health = Health() if health is None else health
        self._chance = chance
        self._names = Names(config)
        self._minute = -1
        self._ways: dict[tuple[str | None, str, str | None, str], tuple[Way, Plan]] = {}

    def plan(self, call: Call) -> Plan:
        """Return whom to ask, best first.

        Raises:
            ModelNotFound: nobody answers to that name; the message lists near ones.
            CapabilityMissing: nobody there can take a part of what is asked, which is named.
            ContextTooLong: the prompt fits nobody there.
            InputError: the provider is not configured, or contradicts the model.
        """
        now_ns = self._now_ns()
        if (minute := now_ns // _MINUTE_NS) != self._minute or len(self._ways) >= _CACHED_PLANS:
            self._ways.clear()
            self._minute = minute
        body = call.body
        spoken = body.dialect if isinstance(body, Wire) else None
        key = (call.provider, call.model, spoken, call.kind)
        known = self._ways.get(key)
        if known is None:
            way = self._way(*self._names.meant(call.provider, call.model), call)
            known = self._ways[key] = way, Plan(way.candidates, group=way.group)
        way, plan = known
        if way.fixed and way.takes(call) and self._well(way.members):
            return plan
        return self._choose(way, call)

    def _well(self, members: tuple[Member, ...]) -> bool:
        """Whether there is no reason to change a fixed order."""
        if len(members) == 1:
            return True
        first = members[0].vital
        if first.busy and silent(first, self._clock.monotonic_s()):
            return False
        return all(member.vital.circuit.calm for member in members)

    def explain(self, call: Call) -> Explanation:
        """Return what `plan` would say of `call`, and why, without asking anybody.

        Raises:
            TrunklineError: as `plan` does.
        """
        group, legs = self._names.meant(call.provider, call.model)
        way = self._way(group, legs, call)
        facts = self._facts(way, call)
        parted, skipped = way.parted(call, facts)
        standings: tuple[list[Standing], ...] = [], [], []
        for leg, members in parted:
            ranks = rank(leg.strategy, members, facts, self._chance)
            order = [(each, place) for place, some in enumerate(ranks) for each in some]
            for nth, (ranked, place) in enumerate(order, start=1):
                member, why = ranked.member, say(leg.strategy, ranked, len(members), nth)
                note = leg.candidates[member.place].note
                one = Standing(ranked.name, why, ranked.score, member.tier, note)
                standings[place].append(one)
        name = group.name if group else None
        first, second, last = standings
        return Explanation(name, legs[0].strategy, (*first, *second, *last), skipped)

    def reached(self, names: Iterable[str]) -> set[str]:
        """Return the deployments that calls for these names may be sent to first or later."""
        found = set[str]()
        for name in names:
            with suppress(TrunklineError):  # nobody answers to it now
                _, legs = self._names.meant(None, name)
                found |= {each.deployment.name for leg in legs for each in leg.candidates}
        return found

    def _way(
        self, group: Group | None, legs: Iterable[Leg], call: Call, first: Deployment | None = None
    ) -> Way:
        spoken = call.body.dialect if isinstance(call.body, Wire) else None
        aimed = [
            replace(
                leg,
                candidates=tuple(
                    replace(each, deployment=self._aimed(each.deployment, spoken, call.kind))
                    for each in leg.candidates
                ),
            )
            for leg in legs
        ]
        aimed = fitting(call.kind, aimed, first)
        ways = tuple((leg, self._members(leg)) for leg in aimed)
        members = tuple(member for _, here in ways for member in here)
        turning = group is not None and bool(
            group.context_window_fallbacks
            or group.rate_limit_fallbacks
            or group.content_policy_fallbacks
        )
        fixed = all(len(here) == 1 or leg.strategy == "priority" for leg, here in ways)
        fixed = call.kind == "count_tokens" or (fixed and not turning)
        candidates = tuple(each for leg in aimed for each in leg.candidates)
        return Way(candidates, group, ways, members, fixed=fixed)

    def _members(self, leg: Leg) -> tuple[Member, ...]:
        rows = [candidate.deployment for candidate in leg.candidates]
        tiers = leg.tiers or (0,) * len(rows)
        return tuple(
            Member(row, self._health.of(row.name), place, tier)
            for place, (row, tier) in enumerate(zip(rows, tiers, strict=True))
        )

    def _aimed(self, deployment: Deployment, spoken: str | None, kind: str) -> Deployment:
        """Return a deployment at its present price, to be asked in the caller's way if it can."""
        provider, model = self._config.providers[deployment.provider], deployment.model
        price = deployment.price
        if price is None or not price.configured:
            price = provider.price(model, self._now_ns())
        return replace(deployment, dialect=provider.dialect(model, spoken, kind), price=price)

    def _facts(self, way: Way, call: Call) -> Facts:
        sized = way.by_cost or not way.takes(call)
        return facts_of(call, self._clock.monotonic_s(), sized=sized, sticky=way.sticky)

    def _choose(self, way: Way, call: Call) -> Plan:
        """Have every leg choose among those who can take `call`."""
        facts = self._facts(way, call)
        parted, skipped = way.parted(call, facts)
        chosen: tuple[list[Candidate], ...] = [], [], []
        for leg, members in parted:
            ranks = rank(leg.strategy, members, facts, self._chance)
            for place, some in enumerate(ranks):
                for ranked in some:
                    candidate = leg.candidates[ranked.member.place]
                    if place or (not chosen[0] and len(members) > 1):
                        why = say(leg.strategy, ranked, len(members))
                        candidate = Candidate(candidate.deployment, candidate.note, why)
                    chosen[place].append(candidate)
        group = way.group
        first = way.candidates[0].deployment
        turn = None if group is None or way.fixed else self._turn(group, call, first)
        return Plan((*chosen[0], *chosen[1], *chosen[2]), skipped, group, turn)

    def _turn(self, group: Group, call: Call, asked_first: Deployment) -> Turn:
        def turn(error: TrunklineError) -> tuple[Candidate, ...] | None:
            kinds: tuple[str, ...] = ("fallbacks",)
            if isinstance(error, ContextTooLong):
                first, targets = "context_window_fallbacks", group.context_window_fallbacks
            elif isinstance(error, ContentBlocked):
                first, targets = "content_policy_fallbacks", group.content_policy_fallbacks
            elif isinstance(error, _NO_ROOM):
                first, targets = "rate_limit_fallbacks", group.rate_limit_fallbacks
                targets = targets and (group.name,)  # its others may have room
            else:
                return None
            if not targets:
                return None
            legs = self._names.along(group.name, targets, (first, *kinds))
            try:
                return self._choose(self._way(None, legs, call, asked_first), call).candidates
            except (CapabilityMissing, ContextTooLong):
                return None

        return turn
