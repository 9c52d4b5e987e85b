"""Who may answer calls of which kind."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.errors import CapabilityMissing
from trunkline.routing.names import Candidate
from trunkline.types import Deployment

ESTIMATE = "estimate"
"""The provider and the backend that counts tokens where nobody does who knows."""


def fitting(kind: str, plan: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return those who may answer a call of this kind; without a dialect they take none.

    Vectors of two models cannot be compared, so embeddings fail over to the same model elsewhere
    and to nothing else. A count is about the model that would be asked first.

    Raises:
        CapabilityMissing: nobody may.
    """
    first = plan[0].deployment
    if kind == "embed":
        return _of_same_model(first, plan)
    if kind == "count_tokens":
        return (Candidate(first if first.dialect else _estimate(first)),)
    return tuple(plan)


def _of_same_model(first: Deployment, plan: Sequence[Candidate]) -> tuple[Candidate, ...]:
    same = tuple(
        candidate
        for candidate in plan
        if candidate.deployment.dialect and _same(candidate.deployment.model, first.model)
    )
    if not same:
        raise CapabilityMissing(
            f"{first.name} makes no embeddings; ask a provider that has an embedding model",
            param="model",
        )
    return same


def _same(one: str, other: str) -> bool:
    """Whether two names mean one model: some providers write a vendor before it."""
    if "/" in one and "/" in other:
        return one == other
    return one.rpartition("/")[2] == other.rpartition("/")[2]


def _estimate(asked: Deployment) -> Deployment:
    return Deployment(provider=ESTIMATE, model=asked.model, dialect="events", backend=ESTIMATE)
