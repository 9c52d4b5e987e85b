"""The users that have an allowance, in the file of the records."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from trunkline.config.model import Allowance, Period
from trunkline.storage import principals
from trunkline.storage.database import Database, Session

_COLUMNS = "id, name, email, allowance_nusd, period, timezone, rolling, created_ns"
_FIND = f"SELECT {_COLUMNS} FROM users WHERE id = ? AND allowance_nusd IS NOT NULL"
_ENTER = f"""
    INSERT INTO users ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id)
    DO UPDATE SET allowance_nusd = excluded.allowance_nusd, period = excluded.period,
        timezone = excluded.timezone, rolling = excluded.rolling
    WHERE users.allowance_nusd IS NULL"""
_ALLOW = "UPDATE users SET allowance_nusd = ? WHERE id = ? AND allowance_nusd IS NOT NULL"


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may spend an amount per period."""

    id: str
    name: str | None = None
    email: str | None = None
    allowance_nusd: int
    period: Period
    timezone: str = "UTC"
    """As of a budget; so is `rolling`."""
    rolling: bool = False
    created_ns: int

    @property
    def allowance(self) -> Allowance:
        """What they may spend, as the budget that it is."""
        return Allowance(
            scope=f"user:{self.id}",
            amount_nusd=self.allowance_nusd,
            period=self.period,
            timezone=self.timezone,
            rolling=self.rolling,
        )


class UserTable:
    """The users in a database; every method raises `RecordError` when it cannot be used.

    `trunkline.storage.principals` has the same rows, and all else that is known of a user; who has
    no allowance there is not here.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, user_id: str) -> User | None:
        """Return the user, if there is one."""
        with self._database.session() as db:
            return _found(db, user_id)

    def enter(self, user: User) -> User:
        """Add a user, or an allowance to one without; return what is known of the user then."""
        fields = asdict(user) | {"rolling": int(user.rolling)}  # a flag is a number there
        return self._after(_ENTER, tuple(fields.values()), user.id) or user

    def allow(self, user_id: str, allowance_nusd: int) -> User | None:
        """Change what a user may spend; None = there is no such user."""
        return self._after(_ALLOW, (allowance_nusd, user_id), user_id)

    def _after(self, statement: str, values: tuple[object, ...], user_id: str) -> User | None:
        # No journal has these rows as well, so they must be safe from a power failure at once.
        with self._database.session(write=True, durable=True) as db:
            if db.execute(statement, values).rowcount > 0:
                principals.count(db)  # the gateway holds their keys to the allowance
            return _found(db, user_id)


def _found(db: Session, user_id: str) -> User | None:
    row = db.execute(_FIND, (user_id,)).fetchone()
    return msgspec.convert(dict(row), User, strict=False) if row else None
