"""`models` and `status`: look without asking a model anything."""

from __future__ import annotations

import asyncio
import datetime
import json
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

_HEAD = ("name", "kind", "provider", "input_usd", "output_usd")


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
