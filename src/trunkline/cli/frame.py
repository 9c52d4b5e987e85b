"""What every command shares: common options, errors as exit codes, tables, JSON."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from trunkline.client import Trunkline
from trunkline.errors import TrunklineError
from trunkline.observability.redact import scrub

_INTERRUPTED = 130  # 128 + SIGINT, as shells count

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False),
    help="Configuration file; default $TRUNKLINE_CONFIG, ./trunkline.yaml, the environment.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def fails_cleanly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn our errors into words on stderr and exit code 1; leave quietly when told to."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except TrunklineError as error:
            click.echo(error_text(error, as_json=bool(kwargs.get("as_json"))), err=True)
            raise SystemExit(1) from None
        except UnicodeEncodeError:
            raise click.UsageError("an argument is not text in UTF-8") from None
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output left
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise SystemExit(1) from None

    return run


def error_text(error: TrunklineError, *, as_json: bool) -> str:
    """Return one line about `error`, free of credentials."""
    message = scrub(str(error))
    if as_json:
        fields = {"code": error.code, "message": message}
        return json.dumps({"error": fields}, ensure_ascii=False)
    return f"error: {message} [{error.code}]"


def open_line(config: str | None) -> Trunkline:
    """Build the line, saying on stderr what the configuration warns of."""
    line = Trunkline.from_config(config)
    for warning in line.config.warnings:
        click.echo(f"warning: {warning}", err=True)
    return line


def print_json(value: Any) -> None:
    """Print `value` as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; numbers to the right."""
    table = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(head, *table, strict=True)]
    right = [bool(table) and all(_numeric(row[i]) for row in table) for i in range(len(head))]
    for row in [list(head), *table]:
        cells = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _numeric(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).isdigit()
