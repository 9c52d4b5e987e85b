"""The built-in user service: everybody has an allowance, which is a budget in the ledger.

So a call through the line of the service is held against the allowance before it is sent, and
charged once, when the ledger settles it: for such a call `add_usage` is not called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

from trunkline.accounting.account import Account
from trunkline.accounting.price import format_usd, usd_to_nusd
from trunkline.client import Trunkline
from trunkline.config import BudgetRule
from trunkline.config.model import Period
from trunkline.errors import BudgetExhausted, InputError
from trunkline.llm_service.default import default_line
from trunkline.storage.users import User, UserTable
from trunkline.types import Principal

Amount = float | str | Decimal
"""In USD; a float counts as the shortest decimal that names it."""


class Users:
    """A user service that keeps users and allowances with the records of a line.

    A user is added the first time they are seen, with the allowance given here. Only
    `set_allowance` changes one: nothing that comes with a call does.

    Args:
        line: whose records and ledger; None = the process's default line.
        allowance_usd: what a new user may spend per `period`.
        period: `day`, `week` (from Monday), `month`, all by UTC, or `total`, which never resets.
        minimum_remaining: in USD; who has no more than this left may not call.

    Raises:
        InputError: names the argument.
    """

    def __init__(
        self,
        line: Trunkline | None = None,
        *,
        allowance_usd: Amount,
        period: Period = "month",
        minimum_remaining: Amount = 1.0,
    ) -> None:
        if period not in get_args(Period):
            known = ", ".join(get_args(Period))
            raise InputError(f"period: found {period!r}; write one of {known}", param="period")
        self._line = line
        self._period = period
        self._minimum_nusd = _nusd(minimum_remaining, "minimum_remaining")
        self._allowance_nusd = self._enough(allowance_usd)

    @property
    def line(self) -> Trunkline:
        """Whose records and ledger these users are in."""
        return self._line or default_line()

    async def require_allowance(
        self, user_id: str, basic_info: Mapping[str, Any] | None = None
    ) -> None:
        """Let the user pass who has more than the minimum left; add one who is not known.

        Args:
            basic_info: `name` and `email` of a new user; all else in it is ignored.

        Raises:
            BudgetExhausted: too little is left; says how much, and when it resets.
            InputError: the id, name or e-mail is not a text.
        """
        account = await self._account(self.line, user_id, basic_info)
        if account.left_nusd <= self._minimum_nusd:
            raise BudgetExhausted(
                f"the allowance of user {user_id!r} is used up: {format_usd(account.left_nusd)} "
                f"of {format_usd(account.rule.amount_nusd)} USD left, a call needs more than "
                f"{format_usd(self._minimum_nusd)}; it {account.resets}"
            )

    async def add_usage(
        self, user_id: str, cost: Amount, basic_info: Mapping[str, Any] | None = None
    ) -> None:
        """Charge what did not go through the line; it is on record as a call to `outside/usage`.

        Args:
            cost: in USD.

        Raises:
            InputError: the cost is negative, not a number or finer than a nano-dollar.
            RecordError: it cannot be recorded; nothing was charged.
        """
        cost_nusd = _nusd(cost, "cost")
        line = self.line
        await self._account(line, user_id, basic_info)
        line.charge(Principal(user_id=user_id), cost_nusd)

    async def find(self, user_id: str) -> User | None:
        """Return what is known of a user; None = nothing."""
        return await asyncio.to_thread(
            UserTable(self.line.store.database).find, _text(user_id, "user_id")
        )

    async def left_nusd(self, user_id: str) -> int:
        """Return what a user may still spend in this period, in nano-USD; adds an unknown one."""
        return (await self._account(self.line, user_id, None)).left_nusd

    async def set_allowance(self, user_id: str, allowance_usd: Amount) -> None:
        """Change what one user may spend per period, at once; for administrators' code.

        Raises:
            InputError: there is no such user, or the amount lets nobody call.
        """
        nusd = self._enough(allowance_usd)
        if not await asyncio.to_thread(_allow, self.line, _text(user_id, "user_id"), nusd):
            raise InputError(
                f"user_id: there is no user {user_id!r}; one is added with the first call",
                param="user_id",
            )

    async def _account(
        self, line: Trunkline, user_id: str, basic_info: Mapping[str, Any] | None
    ) -> Account:
        """Return the user's account; the records are asked only the first time."""
        account = line.ledger.granted(_text(user_id, "user_id"))
        if account is None:
            info = _checked(basic_info)
            await asyncio.to_thread(self._enter, line, user_id, info)
            account = line.ledger.granted(user_id)
            assert account is not None
        elif not account.purse.open:  # a new period: others may have spent of it already
            await asyncio.to_thread(line.ledger.open_account, account)
        return account

    def _enter(self, line: Trunkline, user_id: str, info: Mapping[str, str | None]) -> None:
        user = User(
            id=user_id,
            **info,
            allowance_nusd=self._allowance_nusd,
            period=self._period,
            created_ns=line.clock.now_ns(),
        )
        line.ledger.grant(user_id, _rule(UserTable(line.store.database).enter(user)))

    def _enough(self, allowance_usd: Amount) -> int:
        nusd = _nusd(allowance_usd, "allowance_usd")
        if nusd <= self._minimum_nusd:
            raise InputError(
                f"allowance_usd: with {allowance_usd!r} nobody could call, as more than "
                f"{format_usd(self._minimum_nusd)} must be left; write more, or a smaller "
                "minimum_remaining",
                param="allowance_usd",
            )
        return nusd


def _allow(line: Trunkline, user_id: str, allowance_nusd: int) -> bool:
    """Change an allowance, in the records and in the ledger; False = there is no such user."""
    table = UserTable(line.store.database)
    user = table.allow(user_id, allowance_nusd)
    if user is None:
        return False
    line.ledger.grant(user_id, _rule(user))
    amended = None
    while user is not None and user != amended:  # another change may have come in between
        line.ledger.amend(user_id, _rule(user))
        user, amended = table.find(user_id), user
    return True


def _rule(user: User) -> BudgetRule:
    return BudgetRule(scope=f"user:{user.id}", amount_nusd=user.allowance_nusd, period=user.period)


def _nusd(usd: Amount, param: str) -> int:
    try:
        return usd_to_nusd(usd)
    except ValueError as error:
        raise InputError(f"{param}: {error}", param=param) from None


def _checked(basic_info: Mapping[str, Any] | None) -> dict[str, str | None]:
    """Return name and e-mail, of which either may be missing."""
    given = {name: (basic_info or {}).get(name) for name in ("name", "email")}
    return {
        name: None if value is None else _text(value, f"basic_info.{name}")
        for name, value in given.items()
    }


def _text(value: Any, param: str) -> str:
    text: str = value if isinstance(value, str) else ""
    if not text or text.encode(errors="replace").decode() != text:
        raise InputError(f"{param}: found {value!r}; write a text, not empty", param=param)
    return text
