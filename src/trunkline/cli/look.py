"""`models`, `status`, `usage`: look without asking a model anything."""

from __future__ import annotations

import csv
import datetime
import re
import sys
from typing import Any

import click

from trunkline.accounting.price import format_usd
from trunkline.cli.frame import (
    config_option,
    fails_cleanly,
    json_option,
    open_line,
    print_json,
    print_table,
)
from trunkline.storage.rows import By

_BY: tuple[By, ...] = ("model", "deployment", "provider", "key", "user", "tenant", "tag", "day")


@click.command()
@config_option
@json_option
@fails_cleanly
def models(config: str | None, as_json: bool) -> None:
    """List the models and groups that can be asked, with prices in USD per million tokens."""
    line = open_line(config)
    rows: list[dict[str, Any]] = [
        {"name": name, "kind": "group", "provider": None, "input_usd": None, "output_usd": None}
        for name in line.config.groups
    ]
    for provider in line.config.providers.values():
        for model in provider.models or ("(any)",):
            price = provider.deployment(model).price
            rows.append(
                {
                    "name": model,
                    "kind": "model",
                    "provider": provider.name,
                    "input_usd": format_usd(price.input_nusd) if price else None,
                    "output_usd": format_usd(price.output_nusd) if price else None,
                }
            )
    if as_json:
        print_json(rows)
    else:
        head = ("name", "kind", "provider", "input_usd", "output_usd")
        print_table(head, [[row[column] for column in head] for row in rows])


@click.command()
@config_option
@json_option
@fails_cleanly
def status(config: str | None, as_json: bool) -> None:
    """Tell which providers can be reached; exit code 1 when the default one cannot."""
    line = open_line(config)
    found = line.status()
    default = line.config.default_provider
    if as_json:
        print_json({"default_provider": default, "providers": found})
    else:
        print_table(
            ("provider", "default", "reachable"),
            [(name, name == default, up) for name, up in found.items()],
        )
    if default is not None and not found.get(default, False):
        raise SystemExit(1)


@click.command()
@click.option("--by", type=click.Choice(_BY), default="model", show_default=True)
@click.option(
    "--since",
    default="current_month",
    show_default=True,
    help="current_month, a time ago (24h, 7d), or a date (2026-11-01, UTC).",
)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@config_option
@json_option
@fails_cleanly
def usage(by: By, since: str, form: str, config: str | None, as_json: bool) -> None:
    """Sum up tokens, requests and cost."""
    line = open_line(config)
    line.flush()
    since_ns = since_to_ns(since, datetime.datetime.now(tz=datetime.UTC))
    rows = [
        row.to_dict() | {"cost_usd": format_usd(row.cost_nusd)}
        for row in line.store.usage(by, since_ns)
    ]
    if as_json or form == "json":
        print_json(rows)
        return
    columns = list(rows[0]) if rows else [by]
    columns = [column for column in columns if column != "cost_nusd"]
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
    elif rows:
        print_table(columns, [[row[column] for column in columns] for row in rows])
    else:
        click.echo("no calls in this time")


def since_to_ns(text: str, now: datetime.datetime) -> int:
    """Return the moment `text` means, in nanoseconds since the epoch.

    Raises:
        click.BadParameter: it means none.
    """
    if text == "current_month":
        start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    elif ago := re.fullmatch(r"(\d+)([hd])", text):
        hours = int(ago[1]) * (24 if ago[2] == "d" else 1)
        start = now - datetime.timedelta(hours=hours)
    else:
        try:
            start = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is no time; write current_month, 24h, 7d or 2026-11-01",
                param_hint="--since",
            ) from None
        start = start if start.tzinfo else start.replace(tzinfo=datetime.UTC)
    return int(start.timestamp() * 1_000_000) * 1000
