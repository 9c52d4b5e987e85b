"""Tenants, teams, users, keys and budgets, made and changed at run time.

A key's secret is in the answer that made it and nowhere else: the database has its digest, under
the pepper of the declared keys. Who may do what is for others to say; what is refused here is what
would not be true, such as a key of a user who does not exist, or an amount below zero.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from msgspec import structs

from trunkline.accounting.leases import Seen
from trunkline.clock import Clock
from trunkline.config.model import BudgetRule
from trunkline.errors import Conflict, InputError, NotFound
from trunkline.gateway.admin import asked, rules
from trunkline.gateway.admin.checks import Body
from trunkline.gateway.admin.objects import shown, state, word
from trunkline.gateway.admin.rows import Rows
from trunkline.gateway.keys import digester
from trunkline.storage import principals
from trunkline.storage.database import Database, Session
from trunkline.storage.principals import (
    BUDGETS,
    KEYS,
    PERSONS,
    TEAMS,
    TENANTS,
    ApiKey,
    Budget,
    Item,
    Person,
    Table,
)

KINDS = ("tenants", "teams", "users", "keys", "budgets")
LONGEST_GRACE_S = 30 * 86400

_TABLES: dict[str, Table[Any]] = {
    table.name: table for table in (TENANTS, TEAMS, PERSONS, KEYS, BUDGETS)
}
_FILTERS = {
    "tenants": (),
    "teams": ("tenant_id",),
    "users": ("team_id", "tenant_id", "email"),
    "keys": ("user_id", "team_id", "tenant_id", "name"),
    "budgets": ("scope",),
}
_SECOND_NS = 1_000_000_000
_SHOWN_CHARS = 8
_I = TypeVar("_I", bound=Item)


class Registry:
    """What was made at run time, in `database`; every method may be called from any thread.

    Every method raises `NotFound` for a kind or an id that is not there, `Conflict` for what does
    not fit what is there, `InputError` for all else that a caller can mend, with the field as
    `param`, and `RecordError` when the database cannot be used; nothing is changed then.
    """

    def __init__(
        self,
        database: Database,
        secret: bytes,
        clock: Clock,
        *,
        providers: Collection[str] = (),
        declared: Collection[str] = (),
        seen: Callable[[BudgetRule], Seen | None] = lambda rule: None,
    ) -> None:
        """Take what budgets may be about, and who knows how much of one is spent.

        Args:
            secret: that of the gateway; the keys' pepper is derived from it.
            providers: the configured ones.
            declared: names of the configuration's keys.
        """
        self._database = database
        self._digest = digester(secret)
        self._clock = clock
        self._rows = Rows(clock, providers, declared)
        self._seen = seen

    # --- one at a time ------------------------------------------------------------------------

    def create(self, kind: str, body: Body) -> dict[str, Any]:
        """Make one; the answer for a key has the `key` itself, this once."""
        table = _table(kind)
        made: dict[str, Any] = {}
        with self._writing() as db:
            item = self._rows.new(db, table, body)
            if table.find(db, item.id) is not None:
                raise Conflict(f"id: {item.id!r} is one of the {kind} already", param="id")
            table.put(db, item)
            if isinstance(item, ApiKey):
                made["key"], item = self._renew(db, item, 0)
        return self._answer(item) | made

    def find(self, kind: str, id: str) -> dict[str, Any]:
        """Return one."""
        with self._database.session() as db:
            item = _found(db, _table(kind), id)
        return self._answer(item)

    def page(
        self,
        kind: str,
        *,
        limit: int = asked.USUAL_LIMIT,
        cursor: str | None = None,
        where: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return some of a kind, the oldest first, revoked keys too.

        What comes while somebody turns the pages comes at the end.

        Args:
            limit: 1 to 1000.
            cursor: the `next_cursor` of the page before.
            where: what fields must be: `user_id`, `scope` and their like.
        """
        table, where = _table(kind), where or {}
        if not 1 <= limit <= asked.MOST_LIMIT:
            raise InputError(f"limit: found {limit}; write 1 to {asked.MOST_LIMIT}", param="limit")
        for name in where:
            if name not in _FILTERS[kind]:
                known = ", ".join(_FILTERS[kind]) or "none"
                raise InputError(f"{name}: no such filter of {kind}; there is {known}", param=name)
        after = (-1, "") if cursor is None else _place(cursor)
        with self._database.session() as db:
            sought = all(map(_is_text, where.values()))
            items = table.page(db, limit + 1, after, where) if sought else []
        more = len(items) > limit
        items = items[:limit]
        return asked.page(list(map(self._answer, items)), _cursor(items[-1]) if more else None)

    def change(self, kind: str, id: str, body: Body) -> dict[str, Any]:
        """Change what a body gives, and nothing else; null is as if nobody had ever given it.

        A user takes their keys along: to another team and tenant, and to a smaller role.
        """
        table = _table(kind)
        with self._writing() as db:
            old = _found(db, table, id)
            item = self._rows.changed(db, old, body)
            if item != old:
                table.put(db, item)
                if isinstance(item, Person):
                    rules.take_along(db, old, item)
        return self._answer(item)

    def remove(self, kind: str, id: str) -> dict[str, Any]:
        """Delete one on which nothing depends; a key is revoked at once, and its row stays."""
        table = _table(kind)
        with self._writing() as db:
            item = _found(db, table, id)
            if isinstance(item, ApiKey):
                principals.drop_digests(db, id)
                if item.revoked_ns is None:
                    table.put(db, structs.replace(item, revoked_ns=self._clock.now_ns()))
            else:
                rules.check_unnamed(db, table, id)
                rules.check_free(db, table, id)
                table.drop(db, id)
        return {"id": id, "object": word(table.kind), "deleted": True}

    def rotate(self, id: str, *, grace_s: int = 0) -> dict[str, Any]:
        """Give a key another secret; the answer has it as `key`, this once.

        Args:
            grace_s: for so long every secret of before works on, 0 to 30 days.
        """
        if type(grace_s) is not int or not 0 <= grace_s <= LONGEST_GRACE_S:
            raise InputError(
                f"grace_s: found {grace_s!r:.40}; write a whole number of seconds, 0 to "
                f"{LONGEST_GRACE_S}",
                param="grace_s",
            )
        with self._writing() as db:
            secret, item = self._renew(db, rules.live(_found(db, KEYS, id)), grace_s)
        return self._answer(item) | {"key": secret}

    # --- inside -------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        # No journal has these rows as well, so they must be safe from a power failure at once.
        with self._database.session(write=True, durable=True) as db:
            yield db
            principals.count(db)

    def _renew(self, db: Session, key: ApiKey, grace_s: int) -> tuple[str, ApiKey]:
        """Return a new secret, and the key whose only lasting one it is."""
        secret = f"tl-{secrets.token_urlsafe(24)}"
        now_ns = self._clock.now_ns()
        principals.renew(db, key.id, self._digest(secret), now_ns + grace_s * _SECOND_NS)
        principals.drop_ended(db, key.id, now_ns)
        key = structs.replace(key, prefix=secret[:_SHOWN_CHARS])
        KEYS.put(db, key)
        return secret, key

    def _answer(self, item: Item) -> dict[str, Any]:
        """Return a row as it is answered; not within a session, as `seen` may need one."""
        answer = shown(item)
        if isinstance(item, Budget):
            answer |= state(item, self._seen(item.rule), self._clock.now_ns())
        return answer


def _table(kind: str) -> Table[Any]:
    if kind not in _TABLES:
        raise NotFound(f"there are no {kind!r:.40}; there are {', '.join(KINDS)}")
    return _TABLES[kind]


def _found(db: Session, table: Table[_I], id: str) -> _I:
    """Return the row of that id; what no id can be is nobody's."""
    item = table.find(db, id) if _is_text(id) else None
    if item is None:
        raise NotFound(f"{id!r:.140} is none of the {table.name}")
    return item


def _is_text(text: str) -> bool:
    """Tell whether a database takes it: half a character is none."""
    return text.encode(errors="replace").decode() == text


def _cursor(item: Item) -> str:
    return urlsafe_b64encode(f"{item.created_ns}:{item.id}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, str]:
    """Return where the page before ended."""
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        at, colon, id = text.partition(":")
        if colon and at.isascii() and at.isdecimal() and int(at) < 2**63:
            return int(at), id
    except ValueError:
        pass
    raise InputError(
        f"cursor: found {cursor!r:.40}; write the next_cursor of the page before", param="cursor"
    )
