"""The built-in user service: everybody has an allowance, which is a budget in the ledger.

So a call through the line of the service is held against the allowance before it is sent, and
charged once, when the ledger settles it: for such a call `add_usage` is not called.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

from trunkline.accounting.account import Account
from trunkline.accounting.price import format_usd, usd_to_nusd
from trunkline.client import Trunkline
from trunkline.config.budgets import zone
from trunkline.config.environment import Environment
from trunkline.config.model import Period
from trunkline.config.node import Node
from trunkline.errors import BudgetExhausted, ConfigError, InputError, RecordError
from trunkline.llm_service.default import default_line
from trunkline.storage import principals
from trunkline.storage.users import User, UserTable
from trunkline.types import Principal

Amount = float | str | Decimal
"""In USD; a float counts as the shortest decimal that names it."""
_LOOK_S = 1.0
"""So long an allowance that was changed elsewhere may stay unknown to a call."""


class Users:
    """A user service that keeps users and allowances with the records of a line.

    A user is added the first time they are seen, with the allowance given here. Only
    `set_allowance` changes one: nothing that comes with a call does.

    Args:
        line: whose records and ledger; None = the process's default line.
        allowance_usd: what a new user may spend per `period`.
        period: `day`, `week` (from Monday), `month`, or `total`, which never resets.
        timezone: whose midnight begins a period; UTC, or for example `Europe/Berlin`.
        rolling: True = the last 24 hours, 7 days or 30 days count instead; not with `total`.
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
        timezone: str = "UTC",
        rolling: bool = False,
        minimum_remaining: Amount = 1.0,
    ) -> None:
        if period not in get_args(Period):
            known = ", ".join(get_args(Period))
            raise InputError(f"period: found {period!r}; write one of {known}", param="period")
        if rolling and period == "total":
            raise InputError("rolling: a total has no period; write another one", param="rolling")
        self._line = line
        self._period = period
        self._timezone = "UTC" if rolling or period == "total" else _zone(timezone)
        self._rolling = rolling
        self._seen: weakref.WeakKeyDictionary[Trunkline, _Seen] = weakref.WeakKeyDictionary()
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
        """Return the user's account; the records are asked the first time, and for changes."""
        account = line.ledger.granted(_text(user_id, "user_id"))
        seen = self._seen.setdefault(line, _Seen())
        # In a new period others may have spent of it already.
        if account is None or not account.purse.open or seen.stale(line, user_id):
            account = await asyncio.to_thread(self._bring, line, seen, user_id, basic_info)
        return account

    def _bring(
        self, line: Trunkline, seen: _Seen, user_id: str, basic_info: Mapping[str, Any] | None
    ) -> Account:
        """Have the ledger know the allowance as it is now, and what is spent of it."""
        account = line.ledger.granted(user_id)
        try:
            version = seen.look(line)
            if account is not None and seen.stale(line, user_id):
                account = _again(line, user_id)
        except RecordError:
            if account is None:
                raise
        else:
            account = account or self._enter(line, user_id, _checked(basic_info))
            seen.users[user_id] = version
        line.ledger.open_account(account)
        return account

    def _enter(self, line: Trunkline, user_id: str, info: Mapping[str, str | None]) -> Account:
        user = User(
            id=user_id,
            **info,
            allowance_nusd=self._allowance_nusd,
            period=self._period,
            timezone=self._timezone,
            rolling=self._rolling,
            created_ns=line.clock.now_ns(),
        )
        allowance = UserTable(line.store.database).enter(user).allowance
        return line.ledger.grant(user_id, allowance)

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


class _Seen:
    """Which changes, made by whomever, of the users in the records of a line were taken."""

    def __init__(self) -> None:
        self._version = -1
        self._looked_s = -_LOOK_S
        self.users: dict[str, int] = {}
        """As of which version each is known."""

    def stale(self, line: Trunkline, user_id: str) -> bool:
        """Tell whether a user may have changed."""
        due = line.clock.monotonic_s() >= self._looked_s + _LOOK_S
        return due or self.users.get(user_id) != self._version

    def look(self, line: Trunkline) -> int:
        """Return how many changes there have been; asks at most once a second."""
        if (now_s := line.clock.monotonic_s()) >= self._looked_s + _LOOK_S:
            self._looked_s = now_s  # first: no other call waits as well
            with line.store.database.session() as db:
                self._version = principals.version(db)
        return self._version


def _again(line: Trunkline, user_id: str) -> Account | None:
    """Have the ledger know a user as he is in the records; None = he has no allowance there."""
    user = UserTable(line.store.database).find(user_id)
    if user is None:
        line.ledger.revoke(user_id)
        return None
    return line.ledger.amend(user_id, user.allowance)


def _allow(line: Trunkline, user_id: str, allowance_nusd: int) -> bool:
    """Change an allowance, in the records and in the ledger; False = there is no such user."""
    table = UserTable(line.store.database)
    user = table.allow(user_id, allowance_nusd)
    if user is None:
        return False
    line.ledger.grant(user_id, user.allowance)
    amended = None
    while user is not None and user != amended:  # another change may have come in between
        line.ledger.amend(user_id, user.allowance)
        user, amended = table.find(user_id), user
    return True


def _zone(name: str) -> str:
    try:
        return zone(Node(name, "timezone", "Users", Environment({})))
    except ConfigError as error:
        raise InputError(error.message, param="timezone") from None


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
