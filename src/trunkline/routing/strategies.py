"""In which order the deployments of a group are asked: pure functions over what is known of them.

A strategy gives each deployment a score, the lowest is asked first. Before any score counts how a
deployment stands: who rests, has gone silent, is full, or has a weight of 0 comes after others, and
so does, in most calls, one that has just recovered. The order is at the same time the way to go
when the first ones fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil, inf, log

from msgspec import Struct

from trunkline.routing.health import Vital
from trunkline.types import Deployment, Price

NEAR = 1.25
"""A score up to so many times the best one is as good: where all see the same, not all may choose
the same."""
_BUSY_SHARE = 0.1
"""How much longer than usual an answer is likely to take for each other one under way."""
_KNOWN_SAMPLES = 8
"""Before so many answers were seen, no more may be under way than were seen, and one."""
_SILENT_S = 0.5
"""Who kept callers waiting for twice the time of the slowest of 20 first tokens, and this, is asked
after the others: whatever it is, nobody need wait for the time-out to learn it."""
_SPARE = 1.25
"""How far above the average a deployment may be loaded before `sticky` spills over."""
_LEAST_LOAD = 4
_REQUEST_SHARE = 10**6

Chance = Callable[[], float]
"""Returns a float in [0, 1)."""


class Member(Struct, frozen=True):
    """A deployment among those of its group, and what is known of it."""

    deployment: Deployment
    vital: Vital
    place: int
    """Where it stands in the list."""
    tier: int = 0


class Facts(Struct, frozen=True):
    """What a strategy may know of a call."""

    prompt_tokens: int
    output_tokens: int
    prefix: bytes = b""
    """What calls have in common that can share a provider's prompt cache."""
    now_s: float = 0.0


class Ranked(Struct, frozen=True):
    """A deployment in its place, and what put it there."""

    member: Member
    score: float
    behind: str = ""
    """Why it comes after the others, whatever its score; "" = it does not."""

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.member.deployment.name


Scores = Callable[[Sequence[Member], Facts, Chance], list[float]]


def rank(
    strategy: str, members: Sequence[Member], facts: Facts, chance: Chance
) -> tuple[list[Ranked], list[Ranked], list[Ranked]]:
    """Return who is well, who recovers or has gone silent, and who rests; each best first.

    Tiers stay tiers: whoever is well in a lower one comes before all of a higher one.
    """
    ready: list[Ranked] = []
    uneasy: list[Ranked] = []
    resting: list[tuple[float, Ranked]] = []
    for tier in sorted({member.tier for member in members}):
        here = [member for member in members if member.tier == tier]
        front: list[Ranked] = []
        back: list[Ranked] = []
        for member, score in zip(here, STRATEGIES[strategy](here, facts, chance), strict=True):
            if rest_s := member.vital.circuit.rest_s(facts.now_s):
                resting.append((rest_s, Ranked(member, score, f"resting for {ceil(rest_s)} s")))
            elif doubt := _doubt(member.vital, facts.now_s, chance):
                uneasy.append(Ranked(member, score, doubt))
            elif behind := _behind(member, strategy):
                back.append(Ranked(member, score, behind))
            else:
                front.append(Ranked(member, score))
        front.sort(key=_by_score)
        back.sort(key=_by_score)
        if strategy == "latency":
            _choose_of_two(front, chance)
        ready += front + back
    resting.sort(key=lambda pair: pair[0])
    return ready, uneasy, [ranked for _, ranked in resting]


def silent(vital: Vital, now_s: float) -> float:
    """Return for how many seconds a deployment has been suspiciously silent, 0 = it has not."""
    if not vital.busy or (silent_s := vital.silent_s(now_s)) <= _SILENT_S:
        return 0.0
    late_s = vital.pace.late_s(stream=True)
    return silent_s if late_s is not None and silent_s > _SILENT_S + 2 * late_s else 0.0


def say(strategy: str, ranked: Ranked, count: int, nth: int = 1) -> str:
    """Return in a few words why `ranked` stands where it does, usually first of `count`."""
    if ranked.behind:
        return ranked.behind
    score, member = ranked.score, ranked.member
    place = f"best of {count}" if nth == 1 else f"number {nth} of {count}"
    if strategy == "latency":
        what = f"latency {score:.2f} s" if member.vital.pace.samples else "latency not known yet"
    elif strategy == "cost":
        what = "price not known" if score == inf else f"cost {score / 1e9:.6f} USD"
    elif strategy == "sticky" and nth == 1:
        return f"keeps the prompt's prefix, one of {count}"
    elif strategy == "weighted":
        return f"weight {member.deployment.weight:g}, one of {count}"
    elif strategy == "least_busy":
        what = f"busy {member.vital.busy}"
    else:
        return f"first of {count}" if nth == 1 else place
    return f"{what}, {place}"


def _by_score(ranked: Ranked) -> tuple[float, int]:
    return ranked.score, ranked.member.place


def _doubt(vital: Vital, now_s: float, chance: Chance) -> str:
    """Say why anybody else should be asked first, of another tier too; "" = no reason."""
    if not vital.circuit.calm and chance() >= vital.circuit.allowance(now_s):
        return "recovering"
    silent_s = silent(vital, now_s)
    return f"silent for {silent_s:.1f} s" if silent_s else ""


def _behind(member: Member, strategy: str) -> str:
    """Say why others of its tier should be asked first; "" = no reason."""
    deployment, vital = member.deployment, member.vital
    if deployment.weight <= 0:
        return "weight 0"
    if strategy == "priority":
        return ""  # whoever gave an order waits for a slot where he wants to be
    most = deployment.limits.max_parallel
    if most is not None and vital.busy >= most:
        return f"full, {vital.busy} under way"
    if vital.pressure is not None and vital.busy >= vital.pressure.limit:
        return f"under pressure, {vital.busy} under way"
    return ""


def _choose_of_two(front: list[Ranked], chance: Chance) -> None:
    """Put the better of two first, taken by chance from those who are about as good as the best."""
    near = [ranked for ranked in front if ranked.score <= front[0].score * NEAR]
    if len(near) < 3:
        return
    first = int(chance() * len(near))
    second = int(chance() * (len(near) - 1))
    second += second >= first
    chosen = near[min(first, second)]
    front.remove(chosen)
    front.insert(0, chosen)


# --- scores -------------------------------------------------------------------------------------


def _priority(members: Sequence[Member], facts: Facts, chance: Chance) -> list[float]:
    return [float(member.place) for member in members]


def _latency(members: Sequence[Member], facts: Facts, chance: Chance) -> list[float]:
    """The time an answer is likely to take; one nobody knows is as good as the best, for a few."""
    scores = []
    for member in members:
        vital, pace = member.vital, member.vital.pace
        expected_s = pace.expected_s(facts.output_tokens, facts.now_s, fading=not vital.busy)
        scores.append(expected_s * (1 + vital.busy * _BUSY_SHARE) if pace.samples else inf)
    best = min(scores)
    for i, member in enumerate(members):
        pace, busy = member.vital.pace, member.vital.busy
        if best == inf:
            scores[i] = busy + pace.failing + chance()
        elif pace.samples < _KNOWN_SAMPLES and busy > pace.samples:
            scores[i] = inf
        elif not pace.samples:
            scores[i] = best * chance() + pace.failing
    return scores


def _weighted(members: Sequence[Member], facts: Facts, chance: Chance) -> list[float]:
    """A race that each wins as often as its share of the weights is."""
    return [-log(1 - chance()) / (member.deployment.weight or 1e-9) for member in members]


def _least_busy(members: Sequence[Member], facts: Facts, chance: Chance) -> list[float]:
    """Those under way in relation to the weight; of equal ones, any."""
    return [
        (member.vital.busy + 1 + chance() * 1e-6) / (member.deployment.weight or 1e-9)
        for member in members
    ]


def _cost(members: Sequence[Member], facts: Facts, chance: Chance) -> list[float]:
    """Nano-USD of this call; of equal ones the less busy. What has no known price comes last."""
    return [
        _price_nusd(member.deployment.price, facts) * (1 + (member.vital.busy + chance()) * 1e-9)
        for member in members
    ]


def _price_nusd(price: Price | None, facts: Facts) -> float:
    if price is None:
        return inf
    for threshold, tier in price.tiers:
        if facts.prompt_tokens > threshold:
            price = tier
    tokens = price.input_nusd * facts.prompt_tokens + price.output_nusd * facts.output_tokens
    return (tokens + price.request_nusd) / _REQUEST_SHARE


def _sticky(members: Sequence[Member], facts: Facts, chance: Chance) -> list[float]:
    """The same one for the same prefix; the next in the same prefix's order while it has too much.

    Rendezvous hashing: who comes or goes takes only its own prefixes along.
    """
    weights = sum(member.deployment.weight for member in members) or 1.0
    load = sum(member.vital.busy for member in members) + 1
    scores = []
    for member in members:
        weight = member.deployment.weight or 1e-9
        digest = blake2b(facts.prefix, digest_size=8, salt=_salt(member.deployment.name)).digest()
        drawn = (int.from_bytes(digest) + 1) / 2**64
        score = -log(drawn) / weight
        share = max(_LEAST_LOAD, ceil(_SPARE * load * weight / weights))
        scores.append(score if member.vital.busy < share else score + 1e12 + member.vital.busy)
    return scores


def _salt(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()


STRATEGIES: dict[str, Scores] = {
    "priority": _priority,
    "latency": _latency,
    "weighted": _weighted,
    "least_busy": _least_busy,
    "cost": _cost,
    "sticky": _sticky,
}
