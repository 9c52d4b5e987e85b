"""`serve` and `calls`: run the gateway, and look at what went through."""

from __future__ import annotations

import re
from typing import Any, cast, get_args

import click
import msgspec

from trunkline.accounting.price import format_usd
from trunkline.cli.frame import (
    config_option,
    fails_cleanly,
    json_option,
    open_line,
    print_json,
    print_table,
)
from trunkline.cli.moments import maybe_ns, moment
from trunkline.gateway.admin.asked import page
from trunkline.storage.rows import CallFilter, CallRow
from trunkline.types.call import Outcome
from trunkline.types.record import Called


@click.command()
@click.option("--host", help="Address to listen on; default server.host, 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; default server.port, 4000.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that answer calls; default server.workers, 1.",
)
@config_option
@json_option
@fails_cleanly
def serve(config: str | None, as_json: bool, **said: Any) -> None:
    """Run the gateway: what the SDKs of OpenAI and Anthropic call, on /v1.

    The first start makes an administrator's key and shows it once. Ctrl-C or SIGTERM ends it when
    the calls under way have ended. An edit of the configuration takes effect within two seconds,
    or at once on SIGHUP; one that cannot be read changes nothing.
    """
    from trunkline.gateway.serve import Said
    from trunkline.gateway.serve import serve as listen

    listen(open_line(config), Said(config=config, **said), _as_json if as_json else str)


@click.command()
@click.argument("call_id", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many."
)
@click.option("--user", help="Only calls this user pays.")
@click.option("--key", help="Only calls this key pays.")
@click.option("--tenant", help="Only calls this tenant pays.")
@click.option("--model", help="Only calls that asked for this name.")
@click.option("--tag", help="Only calls with this tag.")
@click.option("--status", type=click.Choice(get_args(Outcome)), help="Only calls that ended so.")
@click.option("--since", help="From a time ago (24h, 7d), a date (2026-11-01, UTC) or time on.")
@click.option("--until", help="Up to a time ago, a date or a time.")
@click.option("--cursor", help="What comes after the page that gave this cursor.")
@config_option
@json_option
@fails_cleanly
def calls(
    call_id: str | None, limit: int, config: str | None, as_json: bool, **asked: str | None
) -> None:
    """List the latest calls, or show the attempts of one, CALL_ID."""
    where = _filter(call_id, asked)
    line = open_line(config)
    line.flush()
    rows = line.store.calls(limit + 1, where)
    cursor = _cursor(rows[limit - 1].call) if len(rows) > limit else None
    rows = rows[:limit]
    if call_id is not None:
        _show(call_id, rows, as_json=as_json)
    elif as_json:
        print_json(page([row.to_dict() for row in rows], cursor))
    elif rows:
        head = ("time", "call", "model", "deployment", "status", "tokens", "cost_usd", "ms")
        print_table(head, [_cells(row) for row in rows])
        if cursor is not None:
            click.echo(f"there are more: --cursor {cursor}", err=True)
    else:
        click.echo("no calls")


def _filter(call_id: str | None, asked: dict[str, str | None]) -> CallFilter:
    return CallFilter(
        call_id=call_id,
        user_id=asked["user"],
        key_id=asked["key"],
        tenant_id=asked["tenant"],
        model=asked["model"],
        tag=asked["tag"],
        outcome=cast(Outcome | None, asked["status"]),
        after=_after(asked["cursor"]),
        since_ns=maybe_ns(asked["since"], "--since"),
        until_ns=maybe_ns(asked["until"], "--until"),
    )


def _cursor(call: Called) -> str:
    return f"{call.started_ns}.{call.call_id}"


def _after(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    found = re.fullmatch(r"([0-9]{1,19})\.(.+)", cursor)
    if found is None or int(found[1]) >= 2**63:
        raise click.BadParameter(
            f"{cursor[:40]!r} is no cursor; write the one that the page before gave",
            param_hint="--cursor",
        )
    return int(found[1]), found[2]


def _as_json(text: str) -> str:
    return msgspec.json.encode({"message": text}).decode()


def _cells(row: CallRow) -> tuple[object, ...]:
    call = row.call
    return (
        moment(call.started_ns),
        call.call_id,
        call.model,
        call.deployment,
        call.error_code or call.outcome,
        call.prompt_tokens + call.completion_tokens,
        _usd(call.cost_nusd),
        round(call.latency_ms),
    )


def _show(call_id: str, rows: list[CallRow], *, as_json: bool) -> None:
    if not rows:
        click.echo(f"no call has the id {call_id}", err=True)
        raise SystemExit(1)
    if as_json:
        print_json(rows[0].to_dict())
        return
    head = ("n", "deployment", "outcome", "error", "tokens", "cost_usd", "state", "ms")
    print_table(
        head,
        [
            (
                attempt.n,
                attempt.deployment,
                attempt.outcome,
                attempt.error_code,
                attempt.usage.total_tokens,
                _usd(attempt.cost.nusd),
                attempt.cost.state,
                round(attempt.latency_ms),
            )
            for attempt in rows[0].attempts
        ],
    )
    for step in rows[0].call.route:
        click.echo(f"route: {step}")


def _usd(nusd: int | None) -> str | None:
    return None if nusd is None else format_usd(nusd)
