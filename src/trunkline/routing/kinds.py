"""Who may answer calls of which kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from msgspec.structs import replace

from trunkline.errors import CapabilityMissing
from trunkline.routing.names import Candidate, Leg
from trunkline.types import Deployment

ESTIMATE = "estimate"
"""The provider and the backend that counts tokens where nobody does who knows."""


def fitting(kind: str, legs: Sequence[Leg], first: Deployment | None = None) -> list[Leg]:
    """Return the legs with those who may answer a call of this kind; without a dialect they cannot.

    Vectors of two models cannot be compared, so embeddings fail over to the same model elsewhere
    and to nothing else. A count is about the model that would be asked first.

    Args:
        first: whom the name stands for before all others, where `legs` are only a part of the way.

    Raises:
        CapabilityMissing: nobody may.
    """
    first = first or legs[0].candidates[0].deployment
    if kind == "embed":
        return _of_same_model(first, legs)
    if kind == "count_tokens":
        return [Leg((Candidate(first if first.dialect else _estimate(first)),))]
    return list(legs)


def _of_same_model(first: Deployment, legs: Sequence[Leg]) -> list[Leg]:
    fit = []
    for leg in legs:
        rows = [candidate.deployment for candidate in leg.candidates]
        here = [bool(row.dialect) and _same(row.model, first.model) for row in rows]
        if any(here):
            left = tuple(compress(leg.candidates, here))
            fit.append(replace(leg, candidates=left, tiers=tuple(compress(leg.tiers, here))))
    if not fit:
        raise CapabilityMissing(
            f"{first.name} makes no embeddings; ask a provider that has an embedding model",
            param="model",
        )
    return fit


def _same(one: str, other: str) -> bool:
    """Whether two names mean one model: some providers write a vendor before it."""
    if "/" in one and "/" in other:
        return one == other
    return one.rpartition("/")[2] == other.rpartition("/")[2]


def _estimate(asked: Deployment) -> Deployment:
    return Deployment(provider=ESTIMATE, model=asked.model, dialect="events", backend=ESTIMATE)
