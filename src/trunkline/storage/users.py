"""The users that have an allowance, in the file of the records."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple

from trunkline.config.model import Period
from trunkline.storage.sqlite import SqliteStore

_TABLE = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY,
    name TEXT,
    email TEXT,
    allowance_nusd INTEGER NOT NULL,
    period TEXT NOT NULL,
    created_ns INTEGER NOT NULL
)"""
_ENTER = "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ALLOW = "UPDATE users SET allowance_nusd = ? WHERE id = ?"


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may spend an amount per period."""

    id: str
    name: str | None = None
    email: str | None = None
    allowance_nusd: int
    period: Period
    created_ns: int


class UserTable:
    """The users of a store; every method raises `RecordError` when the store cannot be used."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def find(self, user_id: str) -> User | None:
        """Return the user, if there is one."""
        return self._after(None, (), user_id)

    def enter(self, user: User) -> User:
        """Add a user; return the one who was there before, if any, else the new one."""
        return self._after(_ENTER, astuple(user), user.id) or user

    def allow(self, user_id: str, allowance_nusd: int) -> User | None:
        """Change what a user may spend; None = there is no such user."""
        return self._after(_ALLOW, (allowance_nusd, user_id), user_id)

    def _after(
        self, statement: str | None, values: tuple[object, ...], user_id: str
    ) -> User | None:
        # No journal has these rows as well, so they must be safe from a power failure at once.
        with self._store._session("BEGIN IMMEDIATE", synchronous="FULL") as db:
            db.execute(_TABLE)
            if statement:
                db.execute(statement, values)
            row = db.execute("SELECT * FROM users WHERE id = ?", (user_id,)).fetchone()
        return User(**row) if row else None
