"""What is known about a name before there is a call for it."""

from __future__ import annotations

import sys

from trunkline.config.model import Group
from trunkline.routing import able
from trunkline.routing.able import Skip
from trunkline.routing.names import Candidate, Leg
from trunkline.routing.strategies import Facts, Member
from trunkline.types import Call, Need

Parts = list[tuple[Leg, tuple[Member, ...]]]


class Way:
    """The deployments that a name may lead to."""

    __slots__ = (
        "_fits_bytes", "_lacks", "_writes_tokens", "by_cost", "candidates", "fixed", "group",
        "legs", "members", "sticky",
    )  # fmt: skip

    def __init__(
        self,
        candidates: tuple[Candidate, ...],
        group: Group | None,
        legs: tuple[tuple[Leg, tuple[Member, ...]], ...],
        members: tuple[Member, ...],
        *,
        fixed: bool,
    ) -> None:
        self.candidates = candidates
        """In the order of the lists."""
        self.group = group
        self.legs = legs
        self.members = members
        self.fixed = fixed
        """Whether that order is right for every call, as long as all are well and can take it."""
        strategies = {leg.strategy for leg, _ in legs}
        self.by_cost, self.sticky = "cost" in strategies, "sticky" in strategies
        rows = [member.deployment for member in members]
        self._lacks = frozenset[Need]().union(*(row.lacks for row in rows))
        windows = [row.context_window for row in rows if row.context_window]
        self._fits_bytes = min(windows) * able.BYTES_PER_TOKEN if windows else sys.maxsize
        self._writes_tokens = min(row.max_output or sys.maxsize for row in rows)

    def takes(self, call: Call) -> bool:
        """Whether everybody can take `call`, as far as is known."""
        body = call.body
        return (
            body.size_bytes <= self._fits_bytes
            and (body.max_output_tokens or 0) <= self._writes_tokens
            and not (self._lacks and body.needs & self._lacks)
        )

    def parted(self, call: Call, facts: Facts) -> tuple[Parts, tuple[Skip, ...]]:
        """Part those who can take `call` from the others.

        A guess that the prompt is too long keeps it from a deployment where another can take it;
        where none can, it is sent unless it is far too long.

        Raises:
            CapabilityMissing, ContextTooLong: nobody can take it.
        """
        if self.takes(call):
            return list(self.legs), ()
        lacks = [able.lacking(member.deployment, call) for member in self.members]
        for tokens in (facts.prompt_tokens, facts.prompt_tokens // 2):
            why = {
                member.deployment.name: lack or able.too_small(member.deployment, tokens)
                for member, lack in zip(self.members, lacks, strict=True)
            }
            if not all(why.values()):
                parts = [
                    (leg, tuple(member for member in here if not why[member.deployment.name]))
                    for leg, here in self.legs
                ]
                return parts, tuple(Skip(name, word) for name, word in why.items() if word)
        raise able.refusal([member.deployment for member in self.members], call)
