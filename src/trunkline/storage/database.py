"""What an SQL engine owes the modules that keep something in it.

They write one SQL for all engines: the subset that SQLite and PostgreSQL share, `?` for each value,
and a `Words` for what the two spell differently. Who speaks it need not know the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Struct

NULL = -(2**63) + 1
"""Bound as NULL where a statement says `nullif(?, NULL)`, see `NULLABLE`: SQLite's driver takes ten
times as long to bind None as a number."""
NULLABLE = f"nullif(?, {NULL})"


class Words(Struct, frozen=True, kw_only=True):
    """What engines spell differently; `?` stands for a value here as well."""

    provider: str
    """The provider in `a.deployment`."""
    day: str
    """The UTC day of the number of seconds `{}` since the epoch, as in `2026-11-20`."""
    has: str
    """Whether the JSON list `tags` has a text."""
    each_tag: str
    """Joins `c` with the texts of its JSON list `tags`, as `t.value`; one row where it is empty."""
    listed: str
    """Whether a text is in a JSON list: after a column."""
    serial: str
    """The type of a key that counts up."""
    locked: str
    """At the end of a SELECT: nobody else may change these rows before the transaction ends."""
    unhurried: str
    """A statement: from here to its end a transaction may take long."""
    tables: str
    """Gives the names of the tables that are there, ours and others."""
    clustered: str = ""
    """At the end of a table whose rows are to lie in the order of its key."""
    integrity: str | None = None
    """Gives `ok`, or a row for each damage that is found; None = the engine has no such thing."""


class Rows(Protocol):
    """What a statement gives: rows, whose columns are known by name and by place."""

    def fetchone(self) -> Any:
        """Return the next row; None = there is none."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""


class Session(Protocol):
    """One transaction: it counts when the session ends well, else nothing of it does."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Any:
        """Run a statement once for each row."""


class Database(Protocol):
    """One database with our tables in it; safe to use from any thread and after a fork.

    One that is opened `as_is` keeps the schema it has, or none.
    """

    @property
    def name(self) -> str:
        """Which one it is, for messages; without a password."""

    @property
    def words(self) -> Words:
        """How this engine spells what engines spell differently."""

    def session(
        self, *, write: bool = False, durable: bool = False
    ) -> AbstractContextManager[Session]:
        """Open a transaction; makes the tables where there are none.

        Args:
            write: it will change something; such sessions come one after the other where that
                keeps them from failing.
            durable: what it does is safe from a power failure when it has ended.

        Raises:
            RecordError: the database cannot be used; nothing of the session counts, unless it
                is `trunkline.accounting.leases.Unsure`.
        """

    def close(self) -> None:
        """Let go of the database; a later use opens it again."""
