"""Tenants, teams, users, keys and budgets that were made at run time, as rows.

A struct for each kind has a field for every column. What may be written is checked by who writes it
(`trunkline.gateway.admin`), in the session in which it is written: sessions that write come one
after the other, so nothing changes in between. The session that changes something calls `count`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from trunkline.config.model import Allowance, MadeRule, Period, Role
from trunkline.storage.database import Session

_COUNT = """
    INSERT INTO meta (key, value) VALUES ('principals', '1') ON CONFLICT (key)
    DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)"""


class Tenant(Struct, frozen=True, kw_only=True):
    """A customer; none of them sees another."""

    id: str
    name: str
    created_ns: int


class Team(Struct, frozen=True, kw_only=True):
    """Users who have a budget in common."""

    id: str
    name: str
    tenant_id: str | None = None
    created_ns: int


class Person(Struct, frozen=True, kw_only=True):
    """A user. `trunkline.storage.users` has those with an allowance for the user service."""

    id: str
    name: str | None = None
    email: str | None = None
    role: Role | None = None
    """No key of theirs may do more; None = any role."""
    team_id: str | None = None
    tenant_id: str | None = None
    """That of the team, if the team has one."""
    allowance_nusd: int | None = None
    """What they may spend per `period`; None = nobody has said."""
    period: Period | None = None
    timezone: str = "UTC"
    """As of a budget; so is `rolling`."""
    rolling: bool = False
    created_ns: int

    @property
    def allowance(self) -> Allowance | None:
        """What they may spend, as the budget that it is."""
        if self.allowance_nusd is None or self.period is None:
            return None
        return Allowance(
            scope=f"user:{self.id}",
            amount_nusd=self.allowance_nusd,
            period=self.period,
            timezone=self.timezone,
            rolling=self.rolling,
        )


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key without what it is made of; it pays for its user, team and tenant as well."""

    id: str
    name: str
    prefix: str
    """Its first characters, by which its owner knows it again."""
    user_id: str | None = None
    team_id: str | None = None
    """That of the user, if the user has one; so is `tenant_id`."""
    tenant_id: str | None = None
    tier: str | None = None
    role: Role = "member"
    models: tuple[str, ...] = ()
    """Names it may ask for; empty = any."""
    may_act_for: tuple[str, ...] = ()
    """Tenants besides its own that it may call for; `*` = all."""
    required_tags: tuple[str, ...] = ()
    expires_ns: int | None = None
    revoked_ns: int | None = None
    created_ns: int
    requests_per_minute: int | None = None
    """With either of these two, limits of its own in place of its tier's."""
    tokens_per_minute: int | None = None


class Budget(MadeRule, frozen=True, kw_only=True):
    """A budget with an id."""

    id: str
    created_ns: int

    @property
    def rule(self) -> MadeRule:
        """What it says."""
        names = MadeRule.__struct_fields__
        return MadeRule(**{name: getattr(self, name) for name in names})


Item = Tenant | Team | Person | ApiKey | Budget
_R = TypeVar("_R", bound=Item)
Place = tuple[int, str]
"""Where a row stands among those of its kind: when it was made, and its id."""


EVERY = 2**62
"""More rows than there are."""


class Table(Generic[_R]):
    """The rows of one kind, each a struct."""

    def __init__(self, name: str, kind: type[_R]) -> None:
        names = kind.__struct_fields__
        hints = msgspec.structs.fields(kind)
        self.name = name
        self.kind = kind
        self._lists = {each.name for each in hints if each.default == ()}
        sets = ", ".join(f"{each} = excluded.{each}" for each in names if each != "id")
        self._put = (
            f"INSERT INTO {name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT (id) DO UPDATE SET {sets}"
        )

    def find(self, db: Session, id: str) -> _R | None:
        """Return the row, if there is one."""
        rows = self.page(db, 1, where={"id": id})
        return rows[0] if rows else None

    def page(
        self,
        db: Session,
        most: int,
        after: Place = (-1, ""),
        where: Mapping[str, str | bool | None] | None = None,
    ) -> list[_R]:
        """Return the oldest rows after a place, whose columns are what `where` says."""
        conditions = ["(created_ns, id) > (?, ?)"]
        values: list[object] = [*after]
        for name, value in (where or {}).items():
            conditions.append(f"{name} IS NULL" if value is None else f"{name} = ?")
            values += [] if value is None else [_plain(value)]
        query = (
            f"SELECT * FROM {self.name} WHERE {' AND '.join(conditions)} "
            "ORDER BY created_ns, id LIMIT ?"
        )
        return [self._item(row) for row in db.execute(query, (*values, most))]

    def having(self, db: Session, where: str, *values: str) -> list[_R]:
        """Return all rows for which the SQL `where` is true."""
        query = f"SELECT * FROM {self.name} WHERE {where} ORDER BY created_ns, id"
        return [self._item(row) for row in db.execute(query, values)]

    def count(self, db: Session, where: str, *values: str) -> int:
        """Return how many rows there are for which the SQL `where` is true."""
        row = db.execute(f"SELECT count(*) FROM {self.name} WHERE {where}", values).fetchone()
        count: int = row[0]
        return count

    def put(self, db: Session, item: _R) -> None:
        """Write a row, for the one of the same id if there is one."""
        fields = msgspec.structs.asdict(item)
        for name in self._lists:
            fields[name] = msgspec.json.encode(fields[name]).decode()
        db.execute(self._put, list(map(_plain, fields.values())))

    def drop(self, db: Session, id: str) -> None:
        """Delete a row."""
        db.execute(f"DELETE FROM {self.name} WHERE id = ?", (id,))

    def _item(self, row: Any) -> _R:
        fields = {
            name: msgspec.json.decode(row[name]) if name in self._lists else row[name]
            for name in self.kind.__struct_fields__
        }
        return msgspec.convert(fields, self.kind, strict=False)  # a flag is a number there


def _plain(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


TENANTS = Table("tenants", Tenant)
TEAMS = Table("teams", Team)
PERSONS = Table("users", Person)
KEYS = Table("keys", ApiKey)
BUDGETS = Table("budgets", Budget)


def renew(db: Session, key_id: str, digest: bytes, ends_ns: int) -> None:
    """Make `digest` that of a key; those of before are good until `ends_ns` at most."""
    db.execute(
        "UPDATE key_digests SET ends_ns = ? WHERE key_id = ? AND (ends_ns IS NULL OR ends_ns > ?)",
        (ends_ns, key_id, ends_ns),
    )
    db.execute("INSERT INTO key_digests (digest, key_id) VALUES (?, ?)", (digest.hex(), key_id))


def drop_digests(db: Session, key_id: str) -> None:
    """Forget what a key is known by: nobody can show it any more."""
    db.execute("DELETE FROM key_digests WHERE key_id = ?", (key_id,))


def drop_ended(db: Session, key_id: str, now_ns: int) -> None:
    """Forget the digests of a key that are good no more."""
    db.execute("DELETE FROM key_digests WHERE key_id = ? AND ends_ns <= ?", (key_id, now_ns))


def count(db: Session) -> None:
    """Count a change, so that workers hear of it."""
    db.execute(_COUNT)


def version(db: Session) -> int:
    """Return how many changes there have been."""
    row = db.execute("SELECT value FROM meta WHERE key = 'principals'").fetchone()
    return int(row["value"]) if row else 0
