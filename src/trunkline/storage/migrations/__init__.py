"""What schema a database has, whether this release may use it, and how it gets from there to here.

A new database is made whole and stamped. An older one is upgraded by whoever opens it first, in one
transaction, if all it lacks is additive; else by `trunkline db upgrade`. In a newer one an older
release goes on where all that it does not know is additive.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import asdict

from trunkline.errors import RecordError
from trunkline.storage.database import Session, Words
from trunkline.storage.migrations.steps import MIGRATIONS, Migration

_VERSION, _COMPATIBLE, _HEAD = "schema_version", "schema_compatible_from", "schema_head"
_ELSEWHERE = "use another one by TRUNKLINE_DATA or TRUNKLINE_DATABASE_URL"
_STAMP = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?"


class Standing(Struct, frozen=True, kw_only=True):
    """What a database says of its schema."""

    version: int
    compatible_from: int
    """The version of the oldest release that may use it."""
    head: str
    """The id of the last migration."""

    @property
    def pending(self) -> tuple[Migration, ...]:
        """What it lacks."""
        return tuple(step for step in MIGRATIONS if step.number > self.version)

    @property
    def refusal(self) -> str | None:
        """Why this release may not use it as it is, nor upgrade it; None = it may."""
        newest = MIGRATIONS[-1]
        if self.version > newest.number:
            if self.compatible_from <= newest.number:
                return None
            return (
                f"was written by a newer Trunkline (schema {self.version}, this one knows "
                f"{newest.number}); upgrade this one, or {_ELSEWHERE}"
            )
        ours = {step.number: step.id for step in MIGRATIONS}.get(self.version)
        if self.head == ours:
            return None
        return (
            f"was made by another line of releases (its schema is {self.head}, here {self.version} "
            f"is {ours}); use the Trunkline that made it, or {_ELSEWHERE}"
        )

    @property
    def breaks(self) -> str | None:
        """Why it is not upgraded as it is opened; None = nothing that is pending is in the way."""
        if all(step.additive for step in self.pending):
            return None
        return (
            "needs an upgrade with which older releases cannot go on: stop every Trunkline that "
            "uses it, make a backup, run `trunkline db upgrade`"
        )


def standing(db: Session, words: Words) -> Standing | None:
    """Return what a database says of itself; None = our tables are not there.

    Raises:
        RecordError: it has a table `meta` that is not ours.
    """
    if not any(name == "meta" for (name,) in db.execute(words.tables).fetchall()):
        return None
    said = {row["key"]: row["value"] for row in db.execute("SELECT key, value FROM meta")}
    try:
        version = int(said[_VERSION])
        return Standing(
            version=version,
            compatible_from=int(said.get(_COMPATIBLE, version)),
            head=said.get(_HEAD, MIGRATIONS[0].id),
        )
    except (KeyError, ValueError):
        raise RecordError(
            "the database has a table `meta` without a schema_version: it is not Trunkline's, or "
            f"was damaged; {_ELSEWHERE}"
        ) from None


def stamp(db: Session) -> None:
    """Write down that the database has the schema of this release."""
    newest = MIGRATIONS[-1]
    compatible = max(step.number for step in MIGRATIONS if not step.additive)
    said = {_VERSION: str(newest.number), _COMPATIBLE: str(compatible), _HEAD: newest.id}
    for key, value in said.items():
        db.execute(_STAMP, (key, value, value))


def make_ready(
    db: Session, words: Words, name: str, writing: Callable[[], AbstractContextManager[object]]
) -> None:
    """See to it that this release can use a database with tables; upgrade it where that is safe.

    Args:
        db: a connection, outside of any transaction.
        name: of the database, for messages.
        writing: opens a transaction on `db` that keeps other writers out.

    Raises:
        RecordError: it cannot; the message says what to do.
    """
    found = _found(db, words, name)
    if not found.pending:
        return
    if found.breaks:
        raise RecordError(f"the database {name} {found.breaks}")
    try:
        with writing():
            upgrade(db, words, name)
    except Exception as error:  # the driver's
        line = str(error).partition("\n")[0]
        raise RecordError(
            f"the database {name} has schema {found.version}, this Trunkline needs "
            f"{MIGRATIONS[-1].number}, and it could not be upgraded: {line}. Run `trunkline db "
            "upgrade` as somebody who may change it, or use the Trunkline that made it"
        ) from error


def upgrade(db: Session, words: Words, name: str) -> tuple[Migration, ...]:
    """Carry out what is pending, all or nothing, and return it; within a transaction that writes.

    Whoever was faster has left nothing to do.

    Raises:
        RecordError: the database is not one that this release may upgrade.
    """
    found = _found(db, words, name)
    if found.pending:
        db.execute(words.unhurried)
        for step in found.pending:
            for statement in step.statements:
                db.execute(statement.format(**asdict(words)))
        stamp(db)
    return found.pending


def _found(db: Session, words: Words, name: str) -> Standing:
    found = standing(db, words)
    if found is None:
        raise RecordError(f"the database {name} is not Trunkline's; {_ELSEWHERE}")
    if found.refusal:
        raise RecordError(f"the database {name} {found.refusal}")
    return found


def mistakes(steps: Sequence[Migration] = MIGRATIONS) -> Iterator[str]:
    """Yield what is wrong with a list of migrations: each leads from the one before to the next.

    Two that were written side by side for the same number would be two heads: which of them a
    database has could not be told.
    """
    for number, times in Counter(step.number for step in steps).items():
        if times > 1:
            ids = ", ".join(step.id for step in steps if step.number == number)
            yield f"{times} heads, all of them number {number}: {ids}; give each one its own"
    for name, times in Counter(step.name for step in steps).items():
        if times > 1:
            yield f"{times} migrations have the name {name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"the name {name!r} is not in lower case, digits and underscores"
    for before, after in pairwise((None, *steps)):
        expected = before.number + 1 if before else 1
        if after and after.number not in (expected, expected - 1):
            yield f"{after.id} is where number {expected} belongs: numbers go up by one, from 1"
