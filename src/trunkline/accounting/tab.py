"""What one call holds and has spent, over all its attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline.accounting.purse import Purse
from trunkline.types import Call, Cost, Deployment, Hold, Quote

if TYPE_CHECKING:
    from trunkline.accounting.ledger import Ledger

Amounts = list[tuple[Purse, int]]
"""What is held, purse by purse."""


class Held(Struct, eq=False):
    """What one attempt holds."""

    nusd: int | None
    amounts: Amounts
    at_ns: int

    @property
    def hard_nusd(self) -> int | None:
        """What hard budgets hold; see `Hold.hard_nusd`."""
        return next((amount_nusd for purse, amount_nusd in self.amounts if purse.hard), None)


class LedgerTab(Struct, eq=False):
    """What one call holds; satisfies `trunkline.types.Tab`."""

    _ledger: Ledger
    _call: Call
    _open: list[Held] = []

    async def begin(self, deployment: Deployment, quote: Quote) -> Held:
        """Hold money for one attempt; see `Tab.begin`."""
        held = await self._ledger.hold(self._call, deployment, quote)
        self._open.append(held)
        return held

    async def top_up(self, hold: Hold, nusd: int) -> bool:
        """Hold more for an attempt under way; see `Tab.top_up`."""
        held = next((held for held in self._open if held is hold), None)
        if held is None:
            return False
        more = await self._ledger.hold_more([(p, nusd) for p, _ in held.amounts if p.hard])
        if more is None:
            return False
        added = dict(more)
        grown = [(purse, nusd + added.get(purse, 0)) for purse, nusd in held.amounts]
        if held not in self._open:  # it ended while the account was asked
            self._ledger.settle(more, Cost(0))
            return False
        held.amounts = grown  # at once: a dropped reply may be settled between any two steps
        if held.nusd is not None:
            held.nusd = max([held.nusd, *(amount_nusd for _, amount_nusd in held.amounts)])
        return True

    def end(self, hold: Hold, cost: Cost) -> None:
        """Settle one attempt; a second time does nothing."""
        for held in self._open:
            if held is hold:
                self._open.remove(held)
                self._ledger.settle(held.amounts, cost)
                return

    def close(self) -> None:
        """Give back what is still held; nothing was sent for it."""
        while self._open:
            self._ledger.settle(self._open.pop().amounts, Cost(0))
