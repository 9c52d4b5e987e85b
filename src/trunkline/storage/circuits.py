"""What processes tell each other of deployments that should be left alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trunkline.routing.circuit import State
from trunkline.storage.database import Database

_KEEP_NS = 60_000_000_000
"""Everybody looks each second: what has been over for a minute is known to all."""


class CircuitRow(NamedTuple):
    """The latest that somebody found out about a deployment. Times are since the epoch."""

    deployment: str
    state: State
    """`resting`, `limited`, `disabled`, or `ramping`: it answers again."""
    until_ns: int
    """When the rest ends; when it answered again."""
    cause: str
    """The code of the error."""
    at_ns: int
    """When this was written."""
    host: str
    """Where."""
    owner: str
    """By which process."""


class CircuitTable:
    """The rows of all processes; the last one to write about a deployment has the word."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, rows: Sequence[CircuitRow], now_ns: int) -> None:
        """Write some rows, and remove what is long over.

        Raises:
            RecordError: the database cannot be used.
        """
        with self._database.session(write=True) as db:
            db.execute("DELETE FROM circuits WHERE until_ns < ?", (now_ns - _KEEP_NS,))
            db.executemany(
                "INSERT INTO circuits (deployment, state, until_ns, cause, at_ns, host, owner) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (deployment) DO UPDATE SET "
                "state = excluded.state, until_ns = excluded.until_ns, cause = excluded.cause, "
                "at_ns = excluded.at_ns, host = excluded.host, owner = excluded.owner",
                rows,
            )

    def read(self, now_ns: int) -> list[CircuitRow]:
        """Return what is not long over.

        Raises:
            RecordError: the database cannot be used.
        """
        with self._database.session() as db:
            found = db.execute(
                "SELECT * FROM circuits WHERE until_ns >= ?", (now_ns - _KEEP_NS,)
            ).fetchall()
        return [CircuitRow(*(row[name] for name in CircuitRow._fields)) for row in found]

    def close(self) -> None:
        """Let go of the database; a later use opens it again."""
        self._database.close()
