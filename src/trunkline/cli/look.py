"""`models`, `status`, `usage`: look without asking a model anything."""

from __future__ import annotations

import asyncio
import csv
import datetime
import io
import json
import re
from pathlib import Path
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

    A price of - is not known. "usual" is what a provider that lists no models is asked for when
    nobody names one; "(any)" stands for a provider that takes names it does not list.
    """
    found = open_line(config).config
    names = [*((name, "group") for name in found.groups), *((n, "alias") for n in found.aliases)]
    rows = [_named(name, kind) for name, kind in names]
    for provider in found.providers.values():
        asked = provider.models or (provider.usual_model,)
        rows += [_priced(provider, *pair) for pair in zip(provider.names, asked, strict=False)]
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
    """Tell how the gateway is, if one runs, and which providers can be reached.

    Exit code 1 when the default one cannot, or, where none is the default, when nobody can.
    """
    line = open_line(config)
    gateway = _gateway(line.config.data_dir)
    if gateway is None:
        default, found, resting = line.config.default_provider, line.status(), None
    else:
        default, providers = gateway.pop("default_provider"), gateway.pop("providers")
        found = {name: told["reachable"] for name, told in providers.items()}
        resting = {name: told["resting"] for name, told in providers.items()}
    if as_json:
        more = {} if gateway is None else {"resting": resting, "gateway": gateway}
        print_json({"default_provider": default, "providers": found, **more})
    else:
        if gateway is not None:
            _print_gateway(gateway)
        head = ["provider", "default", "reachable"]
        rows: list[list[object]] = [[name, name == default, up] for name, up in found.items()]
        if resting is not None:
            head.append("resting")
            rows = [[*row, ", ".join(resting[str(row[0])])] for row in rows]
        print_table(head, rows)
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


def _gateway(data_dir: Path) -> dict[str, Any] | None:
    """Return what the gateway on this data folder tells about itself; None = there is none."""
    from trunkline.gateway.uplink import ask

    try:
        status, body = asyncio.run(ask(data_dir, "/status"))
    except OSError:
        return None
    told: dict[str, Any] | None = json.loads(body) if status == 200 else None
    return told


def _print_gateway(gateway: dict[str, Any]) -> None:
    since = datetime.datetime.fromtimestamp(gateway["started"], tz=datetime.UTC)
    click.echo(f"gateway {gateway['url']}/v1, process {gateway['pid']}, up since {since:%F %T} UTC")
    click.echo(f"rows are {gateway['ingest_lag_s']} s behind\n")
    columns = ("pid", "open_requests", "restarts")
    rows = [[worker[name] for name in columns] for worker in gateway["workers"]]
    print_table(("worker", *columns[1:]), rows)
    click.echo()


def _priced(provider: Provider, name: str, model: str) -> dict[str, Any]:
    kind = "model" if provider.models else "usual"
    price = provider.price(model)
    if price is None:
        return _named(name, kind, provider.name)
    prices = format_usd(price.input_nusd), format_usd(price.output_nusd)
    return _named(name, kind, provider.name, *prices)


def _named(
    name: str | None, kind: str, provider: str | None = None, *prices: str | None
) -> dict[str, Any]:
    return dict(zip(_HEAD, (name, kind, provider, *(prices or (None, None))), strict=True))
