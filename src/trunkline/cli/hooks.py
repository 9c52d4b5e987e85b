"""`hooks`: usage events that a hook never took, and how to have them told again."""

from __future__ import annotations

import click

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
from trunkline.errors import NotFound
from trunkline.observability.redact import scrub
from trunkline.storage.outbox import Outbox

_MOST = 2**31


@click.group()
def hooks() -> None:
    """Show what hooks never took, and have it told again."""


@hooks.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many."
)
@config_option
@json_option
@fails_cleanly
def list_(limit: int, config: str | None, as_json: bool) -> None:
    """List the usage events that were given up, the latest calls first, and why."""
    outbox = _outbox(open_line(config))
    rows = [
        {
            "hook": scrub(each.hook),
            "time": moment(each.started_ns),
            "call_id": each.call_id,
            "attempt": each.attempt,
            "deployment": each.deployment,
            "tries": each.tries,
            "error": each.error,
        }
        for each in outbox.dead(limit)
    ]
    if as_json:
        print_json({"waiting": 0, "dead": 0, **outbox.counts(), "events": rows})
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        click.echo("no event was given up")


@hooks.command()
@click.argument("hook", required=False)
@config_option
@json_option
@fails_cleanly
def requeue(hook: str | None, config: str | None, as_json: bool) -> None:
    """Have HOOK told again what it never took; without HOOK, every hook.

    HOOK is what `trunkline hooks list` calls it. The gateway, or whichever process tells hooks,
    goes on with these events within a second or two.
    """
    outbox = _outbox(open_line(config))
    names = {name for name in _names(outbox) if hook in {None, name, scrub(name)}}
    if hook is not None and not names:
        raise NotFound(
            f"no event of {hook!r} was given up; `trunkline hooks list` has all there are"
        )
    count = sum(outbox.requeue(name) for name in sorted(names))
    left = sorted(scrub(name) for name in names & _names(outbox))
    if as_json:
        print_json({"requeued": count, "not_configured": left})
        return
    click.echo(f"{count} events will be told again")
    for name in left:
        click.echo(f"{name} is configured no more; its events stay as they are", err=True)


def _names(outbox: Outbox) -> set[str]:
    return {each.hook for each in outbox.dead(_MOST)}


def _outbox(line: Trunkline) -> Outbox:
    line.flush()
    return Outbox(line.store.database, line.config.data_dir)
