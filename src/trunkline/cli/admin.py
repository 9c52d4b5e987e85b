"""`keys`, `users`, `teams`, `tenants` and `budgets`: what is made and changed at run time.

One set of commands for all five, working on the database itself. What a field may say is checked
where bodies over HTTP are; a gateway that runs hears of a change within two seconds.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from trunkline.cli.fields import ID, KINDS, Field, Kind, body, options, wrong_use
from trunkline.cli.frame import (
    config_option,
    fails_cleanly,
    json_option,
    open_line,
    print_json,
    print_table,
)
from trunkline.cli.ledger import seen_of
from trunkline.cli.moments import length_s
from trunkline.errors import ConfigError
from trunkline.gateway.admin.registry import Registry
from trunkline.gateway.keys import secret


def on_terminal() -> bool:
    """Tell whether somebody is there to ask."""
    return sys.stdin.isatty()


def _open(config: str | None, kind: str) -> Registry:
    line = open_line(config)
    found = line.config
    if found.storage.database_url and not os.environ.get("TRUNKLINE_SECRET", "").strip():
        raise ConfigError(
            "storage.database_url: keys are known by TRUNKLINE_SECRET; set the one of the gateways"
        )
    if kind == "budgets":
        line.flush()  # they show what is spent
    return Registry(
        line.store.database,
        secret(os.environ, found.data_dir),
        line.clock,
        providers=found.providers,
        declared=[key.name for key in found.keys],
        seen=lambda rule: seen_of(line, rule),
    )


def _print(item: dict[str, Any], *, as_json: bool) -> None:
    """Print one; of a key that was just made its secret alone."""
    if as_json:
        print_json(item)
    elif "key" in item:
        click.echo(item["key"])
    else:
        shown = [(n, _cell(value)) for n, value in item.items() if not n.endswith("_nusd")]
        print_table(("field", "value"), shown)
    if "key" in item:
        click.echo(f"{item['id']}: the key is shown this once; keep it now", err=True)


def _cell(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items() if each is not None)
    return value


# --- the commands ---------------------------------------------------------------------------------


def _list(kind: Kind) -> click.Command:
    limit = click.option(
        "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many."
    )
    after = click.option("--cursor", help="What comes after the page that gave this cursor.")

    @fails_cleanly
    def run(limit: int, cursor: str | None, config: str | None, as_json: bool, **said: Any) -> None:
        registry = _open(config, kind.name)
        where = {name: text for name, text in said.items() if text is not None}
        with wrong_use(kind.filters):
            found = registry.page(kind.name, limit=limit, cursor=cursor, where=where)
        if as_json:
            print_json(found)
        elif found["data"]:
            cells = [[_cell(row.get(name)) for name in kind.columns] for row in found["data"]]
            print_table(kind.columns, cells)
            if found["next_cursor"] is not None:
                click.echo(f"there are more: --cursor {found['next_cursor']}", err=True)
        else:
            click.echo(f"no {kind.name}")

    command = options(kind.filters)(limit(after(config_option(json_option(run)))))
    return click.command("list", help=f"List {kind.name}, the oldest first.")(command)


def _create(kind: Kind) -> click.Command:
    ids = () if kind.name in {"keys", "budgets"} else (ID,)
    fields = (*ids, *kind.fields)

    @fails_cleanly
    def run(config: str | None, as_json: bool, **said: Any) -> None:
        registry = _open(config, kind.name)
        with wrong_use(fields):
            made = registry.create(kind.name, body(fields, said))
        _print(made, as_json=as_json)

    command = options(fields)(config_option(json_option(run)))
    about = " Only the key is printed to standard output." if kind.name == "keys" else ""
    return click.command("create", help=f"Make a {kind.one}.{about}")(command)


def _show(kind: Kind) -> click.Command:
    @click.command("show", help=f"Show the {kind.one} ID.")
    @click.argument("id_", metavar="ID")
    @config_option
    @json_option
    @fails_cleanly
    def run(id_: str, config: str | None, as_json: bool) -> None:
        registry = _open(config, kind.name)
        _print(registry.find(kind.name, id_), as_json=as_json)

    return run


def _change(kind: Kind) -> click.Command:
    @fails_cleanly
    def run(id_: str, config: str | None, as_json: bool, **said: Any) -> None:
        registry = _open(config, kind.name)
        given = body(kind.fields, said)
        if not given:
            raise click.UsageError("write what to change; --help has the options")
        with wrong_use(kind.fields):
            changed = registry.change(kind.name, id_, given)
        _print(changed, as_json=as_json)

    command = options(kind.fields)(config_option(json_option(run)))
    text = f'Change what the options say of the {kind.one} ID, and nothing else; "" takes away.'
    return click.command("change", help=text)(click.argument("id_", metavar="ID")(command))


def _delete(kind: Kind) -> click.Command:
    @click.command("delete", help=f"Delete the {kind.one} ID; asks first on a terminal.")
    @click.argument("id_", metavar="ID")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @config_option
    @json_option
    @fails_cleanly
    def run(id_: str, yes: bool, config: str | None, as_json: bool) -> None:
        registry = _open(config, kind.name)
        if not yes and on_terminal():
            click.confirm(f"delete the {kind.one} {id_}?", abort=True, err=True)
        gone = registry.remove(kind.name, id_)
        if as_json:
            print_json(gone)
        else:
            click.echo(f"{id_} is {'revoked' if kind.name == 'keys' else 'deleted'}")

    return run


@click.command("rotate")
@click.argument("id_", metavar="ID")
@click.option(
    "--grace", default="0", show_default=True, help="How long the old one works: 90 (s), 24h, 7d."
)
@config_option
@json_option
@fails_cleanly
def _rotate(id_: str, grace: str, config: str | None, as_json: bool) -> None:
    """Give the key ID another secret; only that is printed to standard output."""
    grace_s = length_s(grace, "--grace")
    registry = _open(config, "keys")
    with wrong_use((Field("grace_s", "--grace", ""),)):
        made = registry.rotate(id_, grace_s=grace_s)
    _print(made, as_json=as_json)


def _group(kind: Kind) -> click.Group:
    made = [make(kind) for make in (_list, _create, _show, _change, _delete)]
    group = click.Group(kind.name, help=f"List, make, show, change and delete {kind.name}.")
    for command in made:
        group.add_command(command)
    return group


tenants, teams, users, keys, budgets = map(_group, KINDS)
keys.add_command(_rotate)
