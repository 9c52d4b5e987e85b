"""`ledger`: what budgets have spent and hold, over all processes, and who holds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from trunkline.accounting.account import Account
from trunkline.accounting.leases import Seen
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.price import format_usd
from trunkline.cli.frame import (
    config_option,
    fails_cleanly,
    json_option,
    open_line,
    print_json,
    print_table,
)
from trunkline.cli.moments import moment
from trunkline.client import Trunkline
from trunkline.config import BudgetRule
from trunkline.errors import Conflict, NotFound
from trunkline.journal.owners import owners
from trunkline.storage.ledger import Holding, SqlLeases
from trunkline.storage.snapshot import snapshot

_SECOND_NS = 10**9
_REFUSED = {
    "lives": "its process lives, and may spend what it holds without a budget knowing; end it "
    "first, or write --force",
    "elsewhere": "its journal is not in this data folder, so it may live on another machine, or "
    "have spent what nobody has counted yet; look there first, then write --force",
}


@click.group()
def ledger() -> None:
    """Show what budgets have spent and hold, and forget who will never settle."""


@ledger.command()
@config_option
@json_option
@fails_cleanly
def show(config: str | None, as_json: bool) -> None:
    """Show every budget, and every process that was granted money which it has not spent.

    Budgets are those of the configuration and those made at run time. Exposed is what is held, or
    spent and not counted yet; remaining is what nobody has spent and nobody may.
    """
    line = open_line(config)
    line.flush()
    made = snapshot(line.store.database, line.config.key_users)
    rules = (*line.config.budgets, *made.rules)
    budgets = [_budget(account, _look(line, account)) for account in _accounts(line, rules)]
    holdings = _holdings(line)
    if as_json:
        print_json({"accounts": budgets, "holdings": holdings})
        return
    columns = ("scope", "period", "amount_usd", "settled_usd", "exposed_usd", "overrun_usd")
    _print("no budgets", (*columns, "remaining_usd", "resets"), budgets)
    click.echo()
    _print("nobody holds money", ("owner", "state", "since", "scope", "period", "usd"), holdings)


@ledger.command()
@click.argument("owner")
@click.option("--force", is_flag=True, help="Although it may live, here or elsewhere.")
@config_option
@json_option
@fails_cleanly
def forget(owner: str, force: bool, config: str | None, as_json: bool) -> None:
    """Give up what OWNER holds: budgets may spend it again.

    For a process that is dead and whose journal is lost; one whose journal is here is settled by
    itself. What it spent and nobody recorded is never counted.
    """
    line = open_line(config)
    line.flush()
    held = [row for row in _holdings(line) if row["owner"] == owner]
    if not held:
        raise NotFound(f"{owner!r} holds nothing; `trunkline ledger show` lists who does")
    refused = _REFUSED.get(held[0]["state"])
    if refused is not None and not force:
        raise Conflict(f"{owner} is not forgotten: {refused}")
    _leases(line).forget(owner)
    if as_json:
        print_json({"owner": owner, "given_up": held})
        return
    for row in held:
        click.echo(
            f"{row['usd']} USD of the {row['period']} budget on {row['scope']} are free again"
        )


def seen_of(line: Trunkline, rule: BudgetRule) -> Seen:
    """Return the state of a budget that was made at run time."""
    return _look(line, *_accounts(line, [rule]))


def _accounts(line: Trunkline, rules: Iterable[BudgetRule]) -> tuple[Account, ...]:
    """Return the accounts of budgets, in their order and as the ledger names them."""
    return Ledger(rules, line.clock).accounts()


def _leases(line: Trunkline) -> SqlLeases:
    return SqlLeases(line.store.database)


def _look(line: Trunkline, account: Account) -> Seen:
    return _leases(line).look(account.rule.scope, account.period, account.purse.window)


def _budget(account: Account, seen: Seen) -> dict[str, Any]:
    rule, resets_ns = account.rule, account.purse.window.resets_ns
    amounts = {
        "amount": rule.amount_nusd,
        "settled": seen.settled_nusd,
        "exposed": seen.exposed_nusd,
        "overrun": seen.overrun_nusd,
        "remaining": rule.amount_nusd - seen.settled_nusd - seen.exposed_nusd,
    }
    return {
        "scope": rule.scope,
        "period": account.period,
        "mode": rule.mode,
        **{f"{name}_usd": format_usd(nusd) for name, nusd in amounts.items()},
        **{f"{name}_nusd": nusd for name, nusd in amounts.items()},
        "resets": None if resets_ns is None else moment(resets_ns),
    }


def _holdings(line: Trunkline) -> list[dict[str, Any]]:
    here = owners(line.config.data_dir)
    # In a file nobody writes who is not in its folder; a server has clients anywhere.
    missing = "dead" if line.config.storage.database_url is None else "elsewhere"
    states = {name: "lives" if lives else "dead" for name, lives in here.items()}
    return [
        _holding(each, states.get(each.owner, missing), line.clock.now_ns())
        for each in _leases(line).holdings()
    ]


def _holding(each: Holding, state: str, now_ns: int) -> dict[str, Any]:
    nusd = each.granted_nusd - each.ingested_nusd
    return {
        "owner": each.owner,
        "state": state,
        "since": moment(each.opened_ns),
        "age_s": (now_ns - each.opened_ns) // _SECOND_NS,
        "scope": each.scope,
        "period": each.period,
        "usd": format_usd(nusd),
        "nusd": nusd,
    }


def _print(nothing: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    if rows:
        print_table(columns, [[row[name] for name in columns] for row in rows])
    else:
        click.echo(nothing)
