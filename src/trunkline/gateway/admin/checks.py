"""What a body may say: one reader for each field, one set of readers for each kind.

Bodies are read by the code that reads the configuration, so both say the same of the same mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields, replace

from trunkline.accounting.price import format_usd
from trunkline.config.budgets import native, zone
from trunkline.config.connection import RATES
from trunkline.config.environment import Environment
from trunkline.config.keys import tags, tenants
from trunkline.config.model import ROLES, BudgetRule, Period
from trunkline.config.node import Node
from trunkline.errors import InputError
from trunkline.storage.principals import ApiKey, Budget, Person, Team, Tenant

_MOST_CHARS = 256
_MOST_ITEMS = 1000
_MOST_PER_MINUTE = 10**15
_MOST_NUSD = 9_000_000_000 * 10**9
_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NO_VARIABLES = Environment({})
_BUDGET = (
    "scope", "amount_usd", "period", "timezone", "rolling", "mode", "cap_output",
    "unknown_price", "when_store_down", "alert_at",
)  # fmt: skip

Body = Mapping[str, Any]


class Field(Node):
    """A value of a body: a mistake is the caller's, and text is what it says, without variables."""

    __slots__ = ()

    @property
    def where(self) -> str:
        """The path of the field."""
        return self.path[:99] or "the body"

    def refusal(self, message: str) -> InputError:
        """Return an error about what stands here."""
        return InputError(f"{self.where}: {message}", param=self.path[:99] or None)

    def text(self) -> str:
        """Return text of one line that is not empty."""
        text = self.value.strip() if isinstance(self.value, str) else ""
        if not text or len(text) > _MOST_CHARS or _ODD.search(text):
            raise self.fault(f"write text of one line, at most {_MOST_CHARS} characters, not empty")
        return text

    def items(self) -> list[Node]:
        """Return the elements of a list."""
        items = super().items()
        if len(items) > _MOST_ITEMS:
            raise self.refusal(f"found {len(items)} items; write at most {_MOST_ITEMS}")
        return items

    def nano_usd(self) -> int:
        """Return an amount of US dollars as int nano-dollars that fits a database."""
        nusd = super().nano_usd()
        if nusd > _MOST_NUSD:
            raise self.fault(f"write at most {_MOST_NUSD // 10**9}")
        return nusd

    def _empty(self) -> bool:
        return self.value is None


def _text(field: Node) -> str:
    return field.text()


def _texts(field: Node) -> tuple[str, ...]:
    return field.texts()


def _id(field: Node) -> str:
    if isinstance(field.value, str) and _ID.fullmatch(field.value):
        return field.value
    raise field.fault("write 1 to 128 letters, digits or any of . _ : @ -")


def _role(field: Node) -> str:
    return field.choice(ROLES)


def _period(field: Node) -> str:
    return field.choice(get_args(Period))


def _amount(field: Node) -> int:
    return field.nano_usd()


def _rates(field: Node) -> dict[str, int | None]:
    said = {name: child.whole(1) for name, child in field.mapping(RATES).items()}
    if max(said.values(), default=1) > _MOST_PER_MINUTE:
        raise field.refusal(f"write at most {_MOST_PER_MINUTE} per minute")
    return dict.fromkeys(RATES) | said


def _info(field: Node) -> dict[str, str | None]:
    field.mapping(("name", "email"))
    return {
        name: None if child.value is None else child.text()
        for name, child in field.entries().items()
    }


_Reader = Callable[[Node], Any]
_NAMED: dict[str, tuple[str, _Reader]] = {"id": ("id", _id), "name": ("name", _text)}
_HOME: dict[str, tuple[str, _Reader]] = {
    "team_id": ("team_id", _text),
    "tenant_id": ("tenant_id", _text),
}
_READERS: dict[type[Struct], dict[str, tuple[str, _Reader]]] = {
    Tenant: _NAMED,
    Team: {**_NAMED, "tenant_id": ("tenant_id", _text)},
    Person: {
        **_NAMED,
        **_HOME,
        "email": ("email", _text),
        "basic_info": ("basic_info", _info),
        "role": ("role", _role),
        "allowance_usd": ("allowance_nusd", _amount),
        "allowance_period": ("period", _period),
        "allowance_timezone": ("timezone", zone),
        "allowance_rolling": ("rolling", Node.flag),
    },
    ApiKey: {
        "name": ("name", _text),
        "user_id": ("user_id", _text),
        **_HOME,
        "tier": ("tier", _id),
        "role": ("role", _role),
        "models": ("models", _texts),
        "expires_at": ("expires_ns", Node.moment_ns),
        "may_act_for": ("may_act_for", tenants),
        "required_tags": ("required_tags", tags),
        "rate_limits": ("rate_limits", _rates),
    },
}
"""For each field of a body the column that it fills, and what reads it."""


def values(kind: type[Struct], body: Body, *, new: bool) -> dict[str, Any]:
    """Return what a body says, by column; null is what a field is when nobody says anything.

    Raises:
        InputError: names the field.
    """
    readers = {name: how for name, how in _READERS[kind].items() if new or name != "id"}
    root = _root(body, readers)
    usual = {field.name: field.default for field in fields(kind)}
    found: dict[str, Any] = {}
    for name, child in root.entries().items():
        column, read = readers[name]
        if child.value is not None:
            found[column] = read(child)
        elif not new:
            found[column] = usual.get(column)
            if found[column] is NODEFAULT:
                raise child.fault("write another, or leave it out")
    if "rate_limits" in found:
        found |= found.pop("rate_limits") or dict.fromkeys(RATES)
    for name, text in (found.pop("basic_info", None) or {}).items():
        if found.setdefault(name, text) != text:
            raise InputError(f"basic_info.{name}: {name} says otherwise; leave one out", param=name)
    return found


def needed(body: Body, *names: str) -> None:
    """Raise `InputError` unless a body has all these fields."""
    for name in names:
        if body.get(name) is None:
            raise InputError(f"{name}: missing; write it", param=name)


def rule(body: Body, old: Budget | None, providers: Collection[str]) -> BudgetRule:
    """Return the rule that a body asks for, for an old one if there is one.

    Raises:
        InputError: names the field.
    """
    _root(body, _BUDGET)
    if old is not None:
        said = {name: getattr(old, name) for name in _BUDGET if name != "amount_usd"}
        body = {**said, "amount_usd": format_usd(old.amount_nusd), **body}
    needed(body, "scope", "amount_usd", "period")
    made = native(Field(body, "", "", _NO_VARIABLES), providers, "amount_usd")
    # There a zone says nothing: it must not make two budgets of one.
    return replace(made, timezone="UTC") if made.rolling or made.period == "total" else made


def _root(body: Body, known: Collection[str]) -> Field:
    """Return a body all of whose fields are known."""
    root = Field(body, "", "", _NO_VARIABLES)
    if root.value is None:
        raise root.fault("write an object")
    root.mapping(known)
    return root
