"""What a process was granted of one budget in one bucket of time, and made of it.

Pure arithmetic without a lock; the ledger holds one around every use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.accounting.leases import Back, Grant, Want
from trunkline.accounting.period import Window

if TYPE_CHECKING:
    from trunkline.accounting.account import Account


class Purse:
    """What this process was granted of an account in one bucket of time, in nano-USD."""

    __slots__ = (
        "account",
        "fresh",
        "granted_nusd",
        "held_nusd",
        "marked_nusd",
        "moved",
        "open",
        "others_nusd",
        "owed_nusd",
        "scarce",
        "seen_nusd",
        "since_ns",
        "spent_nusd",
        "unsure",
        "window",
    )

    def __init__(self, account: Account, window: Window, since_ns: int) -> None:
        self.account = account
        self.window = window
        self.since_ns = since_ns
        """Attempts that began earlier are not in it."""
        self.fresh = False
        """Whether all that had been spent when it was made has been brought to the account."""
        self.open = False
        """Whether the account has granted anything, if only leave to go on."""
        self.granted_nusd = 0
        self.held_nusd = 0
        self.spent_nusd = 0
        self.others_nusd = 0
        """Spent in the window besides `spent_nusd`, when the account was last asked."""
        self.owed_nusd = 0
        """Of what is granted, what the account has still to hear of; negative = given back."""
        self.scarce = False
        """Whether what is left here is wanted elsewhere."""
        self.unsure = False
        """Whether the account may have granted what we did not hear of."""
        self.seen_nusd = 0
        """Held and spent when the ledger last looked."""
        self.moved = False
        """Whether anything was held or settled since the ledger last looked, which it will."""
        self.marked_nusd = 0
        """The highest alert mark that has been told."""

    @property
    def hard(self) -> bool:
        """Whether its holds are estimates that bind."""
        return self.account.rule.mode == "hard"

    @property
    def free_nusd(self) -> int:
        """Granted, and neither held nor spent; negative after an overrun."""
        return self.granted_nusd - self.held_nusd - self.spent_nusd

    def short_of(self, amount_nusd: int) -> bool:
        """Whether the account has to be asked before so much can be held."""
        return not self.open or (
            self.granted_nusd - self.held_nusd - self.spent_nusd < amount_nusd
            and self.account.rule.mode != "soft"
        )

    def want(self, amount_nusd: int) -> Want:
        """Return what to ask of the account so that `amount_nusd` can be held."""
        account = self.account
        rule = account.rule
        return Want(
            rule.scope,
            account.period,
            self.window,
            None if rule.mode == "soft" else rule.amount_nusd,
            amount_nusd,
            self._lacks(amount_nusd) + self.owed_nusd,
            self.spent_nusd,
            self.since_ns,
            self.granted_nusd - self.owed_nusd,
        )

    def take(self, want: Want, grant: Grant, owed_nusd: int) -> None:
        """Take what was granted, `owed_nusd` of it already taken."""
        self.open = True
        self.unsure = False
        self.granted_nusd += grant.nusd - owed_nusd
        self.owed_nusd -= owed_nusd
        self.hear(grant.spent_nusd, want.spent_nusd)
        if (want.limit_nusd or 0) > self.account.rule.amount_nusd:
            self.return_free()  # the limit was lowered meanwhile

    def owe(self, amount_nusd: int) -> None:
        """Take what is needed for a hold while the account cannot be asked."""
        self.open = True
        lacking_nusd = self._lacks(amount_nusd)
        self.granted_nusd += lacking_nusd
        self.owed_nusd += lacking_nusd

    def return_free(self) -> None:
        """Spend no more of what is free; the account has still to hear of it."""
        free_nusd = max(0, self.free_nusd)
        self.granted_nusd -= free_nusd
        self.owed_nusd -= free_nusd

    @property
    def at_rest(self) -> bool:
        """Whether nothing has to be looked after."""
        return not (self.held_nusd or self.moved or self.restless)

    @property
    def restless(self) -> bool:
        """Whether it has to be looked after again although nobody uses it."""
        return bool(self.free_nusd > 0 or self.owed_nusd or self.unsure or self._lacks(0))

    def hear(self, spent_nusd: int, own_nusd: int) -> None:
        """Learn what was spent in the window, `own_nusd` of it by this process."""
        self.others_nusd = spent_nusd - own_nusd

    def back(self, nusd: int) -> Back:
        """Give back so much of what is granted."""
        self.granted_nusd -= nusd
        return Back(self.account.rule.scope, self.account.period, self.window.bucket_ns, nusd)

    def _lacks(self, amount_nusd: int) -> int:
        """Return how much more has to be granted before so much can be held."""
        if self.account.rule.mode == "soft":
            return 0
        return max(0, amount_nusd - self.free_nusd)
