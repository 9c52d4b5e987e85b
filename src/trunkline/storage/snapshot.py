"""What workers need of what was made at run time: keys, budgets and allowances, in one piece."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from msgspec import Struct

from trunkline.accounting.limited import KeyRates
from trunkline.config.model import Allowance, BudgetRule, MadeRule, Role
from trunkline.storage.database import Database
from trunkline.storage.principals import (
    BUDGETS,
    EVERY,
    KEYS,
    PERSONS,
    version,
)
from trunkline.storage.records import to_json

_SPENDERS = """
    allowance_nusd IS NOT NULL
    AND (id IN (SELECT user_id FROM keys WHERE revoked_ns IS NULL) OR id {listed})"""


class Digest(NamedTuple):
    """What one secret of a key is known by."""

    digest: bytes
    ends_ns: int | None
    """When it is good no more, nanoseconds since the epoch; None = it is the present one."""


class StoredKey(Struct, frozen=True, kw_only=True):
    """A key that is not revoked, as a worker needs it."""

    id: str
    name: str
    digests: tuple[Digest, ...]
    role: Role
    user_id: str | None
    team_id: str | None
    tenant_id: str | None
    tier: str | None
    models: tuple[str, ...]
    may_act_for: tuple[str, ...]
    required_tags: tuple[str, ...]
    expires_ns: int | None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def rates(self) -> KeyRates:
        """What it is limited to."""
        return KeyRates(self.id, self.tier, self.requests_per_minute, self.tokens_per_minute)


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that workers need, as of one moment."""

    version: int
    keys: tuple[StoredKey, ...]
    budgets: tuple[MadeRule, ...]
    allowances: tuple[Allowance, ...]
    """Those of users who have a key."""

    @property
    def rules(self) -> tuple[BudgetRule, ...]:
        """All that calls have to fit."""
        return (*self.budgets, *self.allowances)


def snapshot(database: Database, users: Collection[str] = ()) -> Snapshot:
    """Return all that workers need.

    Args:
        users: who have a key in the configuration.

    Raises:
        RecordError: the database cannot be used.
    """
    spenders = _SPENDERS.format(listed=database.words.listed)
    digests: dict[str, list[Digest]] = {}
    with database.session() as db:
        for row in db.execute("SELECT * FROM key_digests ORDER BY digest"):
            digest = Digest(bytes.fromhex(row["digest"]), row["ends_ns"])
            digests.setdefault(row["key_id"], []).append(digest)
        keys = KEYS.page(db, EVERY, where={"revoked_ns": None})
        budgets = BUDGETS.page(db, EVERY)
        spending = PERSONS.having(db, spenders, to_json(tuple(users)))
        number = version(db)
    fields = [name for name in StoredKey.__struct_fields__ if name != "digests"]
    return Snapshot(
        version=number,
        keys=tuple(
            StoredKey(
                digests=tuple(digests.get(key.id, ())),
                **{name: getattr(key, name) for name in fields},
            )
            for key in keys
        ),
        budgets=tuple(budget.rule for budget in budgets),
        allowances=tuple(user.allowance for user in spending if user.allowance),
    )
