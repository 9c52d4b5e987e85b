"""The users that have an allowance, in the file of the records."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple

from trunkline.config.model import Period
from trunkline.storage import principals
from trunkline.storage.database import Database

_COLUMNS = "id, name, email, allowance_nusd, period, created_ns"
_FIND = f"SELECT {_COLUMNS} FROM users WHERE id = ? AND allowance_nusd IS NOT NULL"
_ENTER = f"""
    INSERT INTO users ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id)
    DO UPDATE SET allowance_nusd = excluded.allowance_nusd, period = excluded.period
    WHERE users.allowance_nusd IS NULL"""
_ALLOW = "UPDATE users SET allowance_nusd = ? WHERE id = ? AND allowance_nusd IS NOT NULL"


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may spend an amount per period."""

    id: str
    name: str | None = None
    email: str | None = None
    allowance_nusd: int
    period: Period
    created_ns: int


class UserTable:
    """The users in a database; every method raises `RecordError` when it cannot be used.

    `trunkline.storage.principals` has the same rows, and all else that is known of a user; who has
    no allowance there is not here.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, user_id: str) -> User | None:
        """Return the user, if there is one."""
        return self._after(None, (), user_id)

    def enter(self, user: User) -> User:
        """Add a user, or an allowance to one without; return what is known of the user then."""
        return self._after(_ENTER, astuple(user), user.id) or user

    def allow(self, user_id: str, allowance_nusd: int) -> User | None:
        """Change what a user may spend; None = there is no such user."""
        return self._after(_ALLOW, (allowance_nusd, user_id), user_id)

    def _after(
        self, statement: str | None, values: tuple[object, ...], user_id: str
    ) -> User | None:
        # No journal has these rows as well, so they must be safe from a power failure at once.
        with self._database.session(write=True, durable=True) as db:
            if statement and db.execute(statement, values).rowcount > 0:
                principals.count(db)  # the gateway holds their keys to the allowance
            row = db.execute(_FIND, (user_id,)).fetchone()
        return User(**dict(row)) if row else None
