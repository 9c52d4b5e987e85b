"""`models`, `status`, `usage`: look without asking a model anything."""

from __future__ import annotations

import csv
import datetime
import io
import re
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
from trunkline.config import Provider
from trunkline.storage.rows import By

_BY: tuple[By, ...] = ("model", "deployment", "provider", "key", "user", "tenant", "tag", "day")
_HEAD = ("name", "kind", "provider", "input_usd", "output_usd")
_INT64_MAX = 2**63 - 1


@click.command()
@config_option
@json_option
@fails_cleanly
def models(config: str | None, as_json: bool) -> None:
    """List the models and groups that can be asked, with prices in USD per million tokens.

    A price of - is not known. "(any)" stands for a provider that takes names it does not list.
    """
    found = open_line(config).config
    names = [*((name, "group") for name in found.groups), *((n, "alias") for n in found.aliases)]
    rows = [_named(name, kind) for name, kind in names]
    for provider in found.providers.values():
        rows += [_priced(provider, model) for model in provider.models]
        if provider.open:
            free = "0.00" if provider.local else None
            rows.append(_named(None, "any", provider.name, free, free))
    if as_json:
        print_json(rows)
    else:
        print_table(_HEAD, [[row["name"] or "(any)", *list(row.values())[1:]] for row in rows])


@click.command()
@config_option
@json_option
@fails_cleanly
def status(config: str | None, as_json: bool) -> None:
    """Tell which providers can be reached.

    Exit code 1 when the default one cannot, or, where none is the default, when nobody can.
    """
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
    if not (any(found.values()) if default is None else found[default]):
        raise SystemExit(1)


@click.command()
@click.option(
    "--by",
    type=click.Choice(_BY),
    default="model",
    show_default=True,
    help="What a row is about. A call with two tags, or two deployments, counts for both.",
)
@click.option(
    "--since",
    default="current_month",
    show_default=True,
    help="current_month, a time ago (24h, 7d), or a date (2026-11-01, UTC).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
@config_option
@json_option
@fails_cleanly
def usage(by: By, since: str, form: str, config: str | None, as_json: bool) -> None:
    """Sum up tokens, requests and cost.

    cost_usd leaves out what is not known; unknown_price_requests counts those calls.
    """
    since_ns = since_to_ns(since, datetime.datetime.now(tz=datetime.UTC))
    line = open_line(config)
    line.flush()
    rows = [
        row.to_dict() | {"cost_usd": format_usd(row.cost_nusd)}
        for row in line.store.usage(by, since_ns)
    ]
    if as_json or form == "json":
        print_json(rows)
        return
    for row in rows:
        del row["cost_nusd"]
    if not rows:
        click.echo("no calls in this time", err=form == "csv")
    elif form == "csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(text.getvalue(), nl=False)
    else:
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def since_to_ns(text: str, now: datetime.datetime) -> int:
    """Return the moment `text` means, in nanoseconds since the epoch.

    Raises:
        click.BadParameter: it means none.
    """
    try:
        if text == "current_month":
            start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        elif ago := re.fullmatch(r"(\d+)([hd])", text):
            start = now - datetime.timedelta(hours=int(ago[1]) * (24 if ago[2] == "d" else 1))
        else:
            start = datetime.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; write current_month, 24h, 7d or 2026-11-01",
            param_hint="--since",
        ) from None
    start = start if start.tzinfo else start.replace(tzinfo=datetime.UTC)
    return min(max(0, int(start.timestamp() * 1_000_000) * 1000), _INT64_MAX)


def _priced(provider: Provider, model: str) -> dict[str, Any]:
    price = provider.price(model)
    if price is None:
        return _named(model, "model", provider.name)
    prices = format_usd(price.input_nusd), format_usd(price.output_nusd)
    return _named(model, "model", provider.name, *prices)


def _named(
    name: str | None, kind: str, provider: str | None = None, *prices: str | None
) -> dict[str, Any]:
    return dict(zip(_HEAD, (name, kind, provider, *(prices or (None, None))), strict=True))
