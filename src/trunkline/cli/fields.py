"""What can be said of tenants, teams, users, keys and budgets on a command line, as data.

Each option stands for a field of the body over HTTP, and is checked where bodies are.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click

from trunkline.errors import Conflict, InputError, NotFound


def _list_of(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _shares(text: str) -> list[object]:
    try:
        return [float(item) for item in text.split(",")]
    except ValueError:
        return [*_list_of(text)]  # whoever checks them says which one is none


def _moment(text: str) -> object:
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else text


def _rates(text: str) -> object:
    requests, _, tokens = text.partition(",")
    return {"requests_per_minute": requests or None, "tokens_per_minute": tokens or None}


class Field(NamedTuple):
    """A field of a body, and the option that gives it."""

    name: str
    flag: str
    help: str
    read: Callable[[str], object] = str
    yes_or_no: bool = False


ID = Field("id", "--id", "Its id; default one that is made up.")
_NAME = Field("name", "--name", "What people call it.")
_EMAIL = Field("email", "--email", "The user's address.")
_USER = Field("user_id", "--user", "Id of the user who pays.")
_TEAM = Field("team_id", "--team", "Id of the team.")
_TENANT = Field("tenant_id", "--tenant", "Id of the tenant.")
_ROLE = Field("role", "--role", "admin, member or viewer.")
_SCOPE = Field("scope", "--scope", "What it is about: global, or as in user:alice.")


class Kind(NamedTuple):
    """What is peculiar to one of the five."""

    name: str
    one: str
    columns: tuple[str, ...]
    fields: tuple[Field, ...]
    filters: tuple[Field, ...] = ()


KINDS = (
    Kind("tenants", "tenant", ("id", "name", "created_at"), (_NAME,)),
    Kind("teams", "team", ("id", "name", "tenant_id", "created_at"), (_NAME, _TENANT), (_TENANT,)),
    Kind(
        "users",
        "user",
        ("id", "name", "email", "role", "team_id", "tenant_id", "allowance_usd"),
        (
            _NAME,
            _EMAIL,
            _TEAM,
            _TENANT,
            _ROLE,
            Field("allowance_usd", "--allowance", "USD the user may spend in a period."),
            Field("allowance_period", "--period", "day, week, month or total."),
            Field("allowance_timezone", "--timezone", "Whose midnight begins a period."),
            Field(
                "allowance_rolling",
                "--rolling/--no-rolling",
                "The last 24 hours, 7 or 30 days.",
                bool,
                True,
            ),
        ),
        (_TEAM, _TENANT, _EMAIL),
    ),
    Kind(
        "keys",
        "key",
        ("id", "name", "prefix", "role", "user_id", "tenant_id", "expires_at", "revoked_at"),
        (
            _NAME,
            _USER,
            _TEAM,
            _TENANT,
            _ROLE,
            Field("tier", "--tier", "A word for what was sold; whose rate limits it has."),
            Field("rate_limits", "--rate-limits", "Requests,tokens per minute: 60,40000.", _rates),
            Field("models", "--models", "Names it may ask for: a,b; default any.", _list_of),
            Field("expires_at", "--expires", "When it ends: a date, or a time.", _moment),
            Field("may_act_for", "--may-act-for", "Other tenants' ids: a,b; or *.", _list_of),
            Field("required_tags", "--required-tags", "Tags its calls need: a,b.", _list_of),
        ),
        (_USER, _TEAM, _TENANT, _NAME),
    ),
    Kind(
        "budgets",
        "budget",
        (
            "id",
            "scope",
            "period",
            "mode",
            "amount_usd",
            "settled_usd",
            "held_usd",
            "remaining_usd",
            "resets_at",
        ),
        (
            _SCOPE,
            Field("amount_usd", "--amount", "USD that may be spent in a period."),
            Field("period", "--period", "day, week, month or total."),
            Field("mode", "--mode", "hard, strict or soft."),
            Field("timezone", "--timezone", "Whose midnight begins a period, as Europe/Berlin."),
            Field(
                "rolling", "--rolling/--no-rolling", "The last 24 hours, 7 or 30 days.", bool, True
            ),
            Field(
                "cap_output",
                "--cap-output/--no-cap-output",
                "Shorten answers to what is left.",
                bool,
                True,
            ),
            Field("unknown_price", "--unknown-price", "flag, refuse or allow."),
            Field("when_store_down", "--when-store-down", "closed or open."),
            Field("alert_at", "--alert-at", "Shares at which to tell: 0.5,0.8.", _shares),
        ),
        (_SCOPE,),
    ),
)


def options(fields: tuple[Field, ...]) -> Callable[[Any], Any]:
    """Add an option for each field, which arrives under the field's name."""

    def add(command: Any) -> Any:
        for field in reversed(fields):
            default: Any = {"default": None, "is_flag": True} if field.yes_or_no else {}
            command = click.option(field.flag, field.name, help=field.help, **default)(command)
        return command

    return add


def body(fields: tuple[Field, ...], said: dict[str, Any]) -> dict[str, Any]:
    """Return the body that options stand for; an empty one takes away what is there."""
    given = {field: said[field.name] for field in fields if said[field.name] is not None}
    return {field.name: None if text == "" else field.read(text) for field, text in given.items()}


@contextlib.contextmanager
def wrong_use(fields: tuple[Field, ...]) -> Iterator[None]:
    """Tell of a field that cannot be under the name of its option, as wrong use."""
    try:
        yield
    except (NotFound, Conflict):
        raise
    except InputError as error:
        name = re.split(r"[.\[]", error.param or "")[0]
        flag = next((f.flag.partition("/")[0] for f in fields if f.name == name), None)
        text = error.message
        if flag is not None and text.startswith(name):
            text = flag + text.removeprefix(name)
        raise click.UsageError(text) from None
