"""The command line: `trunkline COMMAND`. Each command is loaded only when it is run."""

from __future__ import annotations

import io
import sys
from importlib import import_module

import click

_COMMANDS = {
    "budgets": ("admin", "budgets", "Say who may spend how much, and see what is left."),
    "call": ("talk", "call", "Ask one question and print the answer."),
    "calls": ("gateway", "calls", "List the latest calls, or show one."),
    "chat": ("talk", "chat", "Talk with a model, turn by turn."),
    "check": ("setup", "check", "Check the configuration; --probe tries the providers."),
    "db": ("db", "db", "Check, upgrade or back up the database."),
    "explain": ("explain", "explain", "Tell where a call would go, and why; nothing is sent."),
    "hooks": ("hooks", "hooks", "Show usage events that hooks never took; have them told again."),
    "init": ("setup", "init", "Write a configuration from what is found here."),
    "keys": ("admin", "keys", "Make, change and revoke the keys of the gateway."),
    "ledger": ("ledger", "ledger", "Show what budgets have spent and hold, and who holds it."),
    "models": ("look", "models", "List the models and groups that can be asked."),
    "serve": ("gateway", "serve", "Run the gateway."),
    "status": ("look", "status", "Tell which providers can be reached."),
    "teams": ("admin", "teams", "Keep the teams that keys and users belong to."),
    "tenants": ("admin", "tenants", "Keep the tenants that pay."),
    "usage": ("usage", "usage", "Sum up tokens, requests and cost; find out costs."),
    "users": ("admin", "users", "Keep the users that pay, and their allowances."),
}


class _Lazy(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"trunkline.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in sorted(_COMMANDS)])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trunkline")
def main() -> None:
    """One door for every call to a language model.

    Without any configuration a local server that is found answers, else the built-in demo provider.
    Set OPENAI_API_KEY, ANTHROPIC_API_KEY, ... or run `trunkline init` to use others.

    Results go to standard output, warnings and errors to standard error.
    Exit codes: 0 good, 1 failed, 2 wrong use, 130 interrupted.
    """
    # A terminal that lacks a letter loses only that; input that is no text is refused later.
    how = ((sys.stdout, "replace"), (sys.stderr, "replace"), (sys.stdin, "surrogateescape"))
    for stream, errors in how:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
