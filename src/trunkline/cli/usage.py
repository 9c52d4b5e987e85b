"""`usage`: what calls used and cost; `usage rerate` finds out costs that were not known."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args

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
from trunkline.cli.moments import PERIODS, maybe_ns, span
from trunkline.config import Config
from trunkline.storage.rerate import PriceOf, Rerated, rerate, waiting
from trunkline.storage.rows import By, UsageFilter
from trunkline.types import Price

_WHO = ("key", "user", "team", "tenant")


def who_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--key`, `--user`, `--team` and `--tenant`."""
    for kind in reversed(_WHO):
        command = click.option(f"--{kind}", help=f"Only what this {kind} pays.")(command)
    return command


def who_pays(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the fields of a filter that `who_options` stand for."""
    return {f"{kind}_id": given[kind] for kind in _WHO}


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="model",
    show_default=True,
    help="What a row is about. A call with two tags, or two deployments, counts for both.",
)
@click.option(
    "--period", type=click.Choice(PERIODS), help="Of which time; default current_month, in UTC."
)
@click.option("--since", help="From a time ago (24h, 7d), a date (2026-11-01, UTC) or time on.")
@click.option("--until", help="Up to a time ago, a date or a time.")
@who_options
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
@click.pass_context
@fails_cleanly
def usage(
    context: click.Context, by: By, form: str, config: str | None, as_json: bool, **asked: Any
) -> None:
    """Sum up tokens, requests and cost.

    cost_usd leaves out what is not known; unknown_price_requests counts those calls.
    """
    if context.invoked_subcommand is not None:
        return
    since_ns, until_ns = span(asked["period"], asked["since"], asked["until"])
    line = open_line(config)
    line.flush()
    where = UsageFilter(since_ns=since_ns, until_ns=until_ns, **who_pays(asked))
    rows = [
        row.to_dict() | {"cost_usd": format_usd(row.cost_nusd)}
        for row in line.store.usage(by, where)
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


@usage.command("rerate")
@click.option("--since", help="Only calls from a time ago (7d) or a date (2026-11-01, UTC) on.")
@click.option("--dry-run", is_flag=True, help="Change nothing, only say what would be.")
@config_option
@json_option
@click.pass_context
@fails_cleanly
def rerate_command(
    context: click.Context, since: str | None, dry_run: bool, config: str | None, as_json: bool
) -> None:
    """Find out costs that were not known, at prices that are known now.

    Prices are those of the configuration and of this version, as of when each call was made. What
    is found out is an estimate; it counts for usage and for budgets. Safe to interrupt and repeat.
    """
    above = context.parent.params if context.parent else {}
    since_ns = maybe_ns(since, "--since") or 0
    line = open_line(config or above.get("config"))
    line.flush()
    database, shown = line.store.database, sys.stderr.isatty()
    with click.progressbar(
        length=waiting(database, since_ns) if shown else 0,
        label="calls",
        file=sys.stderr,
        hidden=not shown,
    ) as bar:
        found = rerate(
            database,
            _price_of(line.config),
            since_ns=since_ns,
            dry_run=dry_run,
            told=bar.update,
        )
    if as_json or above.get("as_json"):
        print_json(_fields(found, dry_run=dry_run))
    else:
        for text in _words(found, dry_run=dry_run):
            click.echo(text)


def _price_of(config: Config) -> PriceOf:
    def price(deployment: str, at_ns: int) -> Price | None:
        name, _, model = deployment.partition("/")
        provider = config.providers.get(name)
        return None if provider is None else provider.price(model, at_ns)

    return price


def _fields(found: Rerated, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "calls": found.calls,
        "attempts": found.attempts,
        "cost_usd": format_usd(found.cost_nusd),
        "cost_nusd": found.cost_nusd,
        "unknown_attempts": sum(found.unknown.values()),
        "unknown": found.unknown,
    }


def _words(found: Rerated, *, dry_run: bool) -> list[str]:
    done = "would get" if dry_run else "got"
    usd = format_usd(found.cost_nusd)
    return [
        f"{found.attempts} attempts of {found.calls} calls {done} a cost, {usd} USD in all",
        *(
            f"still unknown: {count} attempts at {deployment}"
            for deployment, count in sorted(found.unknown.items())
        ),
    ]
