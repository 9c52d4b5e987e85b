"""What must agree between rows: who belongs where, and what nobody may pull away.

A key pays for its user, team and tenant, so they are written with the key: workers look at nothing
else. Each function is part of the session that writes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from msgspec.structs import replace

from trunkline.config.model import ROLES, BudgetRule
from trunkline.errors import Conflict, InputError
from trunkline.storage.database import Session
from trunkline.storage.principals import (
    BUDGETS,
    EVERY,
    KEYS,
    PERSONS,
    TEAMS,
    TENANTS,
    ApiKey,
    Item,
    Person,
    Table,
)

_R = TypeVar("_R", bound=Item)
_P = TypeVar("_P", bound=Person | ApiKey)
_HOME = ("team_id", "tenant_id")
_SCOPES: dict[str, Table[Any]] = {
    "key": KEYS, "user": PERSONS, "team": TEAMS, "tenant": TENANTS,
}  # fmt: skip
_NAMING: dict[str, tuple[tuple[Table[Any], str], ...]] = {
    "users": ((KEYS, "revoked_ns IS NULL AND user_id = ?"),),
    "teams": ((PERSONS, "team_id = ?"), (KEYS, "revoked_ns IS NULL AND team_id = ?")),
    "tenants": (
        (TEAMS, "tenant_id = ?"),
        (PERSONS, "tenant_id = ?"),
        (KEYS, "revoked_ns IS NULL AND tenant_id = ?"),
        # Neither engine has a better word for an element of a list that both understand.
        (KEYS, "revoked_ns IS NULL AND replace(may_act_for, '\"' || ? || '\"', '') <> may_act_for"),
    ),
}
"""Who depends on a row: those whose condition is true of its id."""


def placed(db: Session, item: _P, said: Collection[str]) -> _P:
    """Return a user or key with the team and tenant that follow from the others it names.

    Args:
        said: the fields that must stay as they are; the others yield.

    Raises:
        InputError: it names somebody who does not exist, or two who do not belong together.
    """
    fixed = set(said)
    if isinstance(item, ApiKey) and item.user_id is not None:
        user = existing(db, PERSONS, item.user_id, "user_id")
        for name in _HOME:
            item = _follow(item, name, getattr(user, name), f"the user {user.id!r}", fixed)
        if user.role and ROLES.index(item.role) > ROLES.index(user.role):
            item = _follow(item, "role", user.role, f"the user {user.id!r}", fixed)
    if item.team_id is not None:
        team = existing(db, TEAMS, item.team_id, "team_id")
        item = _follow(item, "tenant_id", team.tenant_id, f"the team {team.id!r}", fixed)
    if item.tenant_id is not None:
        existing(db, TENANTS, item.tenant_id, "tenant_id")
    for tenant in item.may_act_for if isinstance(item, ApiKey) else ():
        if tenant != "*":
            existing(db, TENANTS, tenant, "may_act_for")
    return item


def _follow(item: _P, name: str, wanted: str | None, whose: str, fixed: set[str]) -> _P:
    found = getattr(item, name)
    if wanted is None:
        return item
    if name in fixed and found not in {None, wanted}:
        raise InputError(
            f"{name}: found {found!r}, but that of {whose} is {wanted!r}; leave it out, or write "
            "the same",
            param=name,
        )
    fixed.add(name)
    return replace(item, **{name: wanted})


def existing(db: Session, table: Table[_R], id: str, param: str) -> _R:
    """Return the row of that id; raises `InputError` about `param` when there is none."""
    if (row := table.find(db, id)) is None:
        raise InputError(
            f"{param}: found {id!r}, which is none of the {table.name}; make it first, or write "
            "the id of another",
            param=param,
        )
    return row


def live(key: ApiKey) -> ApiKey:
    """Return a key that is not revoked; raises `Conflict` about any other."""
    if key.revoked_ns is not None:
        raise Conflict(f"the key {key.id!r} is revoked for good; make another one")
    return key


def check_scope(db: Session, scope: str, declared: Collection[str]) -> None:
    """Raise `InputError` unless there is somebody whom a budget on `scope` is about."""
    kind, _, name = scope.partition(":")
    if kind not in _SCOPES or (kind == "key" and name in declared):
        return
    row = existing(db, _SCOPES[kind], name, "scope")
    if isinstance(row, ApiKey) and row.revoked_ns is not None:
        raise InputError(f"scope: the key {name!r} is revoked; write another", param="scope")


def check_twin(db: Session, rule: BudgetRule, owner: str) -> None:
    """Raise `Conflict` if another budget, or an allowance, is on the same scope and period.

    Args:
        owner: the id of the budget that has this rule, or of the user whose allowance it is.
    """
    same = {name: getattr(rule, name) for name in ("scope", "period", "timezone", "rolling")}
    twins = [budget.id for budget in BUDGETS.page(db, 2, where=same) if budget.id != owner]
    kind, _, name = rule.scope.partition(":")
    if kind == "user" and name != owner and (user := PERSONS.find(db, name)) is not None:
        other = user.allowance
        if other is not None and all(getattr(other, each) == same[each] for each in same):
            twins.append("the user's own allowance_usd")
    if twins:
        raise Conflict(
            f"there is a budget for such a {rule.period} on {rule.scope} already, {twins[0]}; "
            "change that one",
            param="period",
        )


def take_along(db: Session, old: Person, new: Person) -> None:
    """Move the keys of a user, who is written already, to where the user is now.

    Raises:
        Conflict: a key has a team or tenant of its own, which is not that of the user now.
    """
    if all(getattr(new, name) == getattr(old, name) for name in (*_HOME, "role")):
        return
    for key in KEYS.page(db, EVERY, where={"user_id": new.id, "revoked_ns": None}):
        moved = {n: getattr(new, n) for n in _HOME if getattr(key, n) == getattr(old, n)}
        try:
            KEYS.put(db, placed(db, replace(key, **moved), set(_HOME) - set(moved)))
        except InputError as error:
            raise Conflict(
                f"the key {key.id!r} does not fit any more ({error.message}); change or delete it "
                "first",
                param=error.param,
            ) from None


def check_unnamed(db: Session, table: Table[Any], id: str) -> None:
    """Raise `Conflict` while others belong to a row, or may act for it."""
    found = [
        f"{count} of the {other.name}"
        for other, where in _NAMING.get(table.name, ())
        if (count := other.count(db, where, id))
    ]
    if found:
        raise Conflict(
            f"{' and '.join(found)} still name {id!r} of the {table.name}; change or delete these "
            "first"
        )


def check_free(db: Session, table: Table[Any], id: str) -> None:
    """Raise `Conflict` while there is a budget on a row."""
    for kind, other in _SCOPES.items():
        if other is table and BUDGETS.count(db, "scope = ?", f"{kind}:{id}"):
            raise Conflict(f"there is a budget on {kind}:{id}; delete it first")
