"""`serve` and `calls`: run the gateway, and look at what went through."""

from __future__ import annotations

import datetime
from typing import Any

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
from trunkline.storage.rows import CallFilter, CallRow


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
@config_option
@json_option
@fails_cleanly
def calls(call_id: str | None, limit: int, config: str | None, as_json: bool, **who: Any) -> None:
    """List the latest calls, or show the attempts of one, CALL_ID."""
    line = open_line(config)
    line.flush()
    where = CallFilter(
        call_id=call_id, user_id=who["user"], key_id=who["key"], tenant_id=who["tenant"]
    )
    rows = line.store.calls(limit, where)
    if as_json:
        print_json([row.to_dict() for row in rows])
    elif call_id is not None:
        _show(call_id, rows)
    elif rows:
        head = ("time", "call", "model", "deployment", "status", "tokens", "cost_usd", "ms")
        print_table(head, [_cells(row) for row in rows])
    else:
        click.echo("no calls")


def _as_json(text: str) -> str:
    return msgspec.json.encode({"message": text}).decode()


def _cells(row: CallRow) -> tuple[object, ...]:
    call = row.call
    at = datetime.datetime.fromtimestamp(call.started_ns / 1e9, tz=datetime.UTC)
    return (
        f"{at:%Y-%m-%d %H:%M:%S}",
        call.call_id,
        call.model,
        call.deployment,
        call.error_code or call.outcome,
        call.prompt_tokens + call.completion_tokens,
        _usd(call.cost_nusd),
        round(call.latency_ms),
    )


def _show(call_id: str, rows: list[CallRow]) -> None:
    if not rows:
        click.echo(f"no call has the id {call_id}", err=True)
        raise SystemExit(1)
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
