"""`init` and `check`: write a configuration, and say whether one is good."""

from __future__ import annotations

import os
from pathlib import Path

import click

from trunkline import catalog
from trunkline.cli.frame import config_option, fails_cleanly, json_option, open_line, print_json
from trunkline.egress import reachable

_HEAD = """\
# Written by `trunkline init`. Every key is described in docs/reference/configuration.md.
llm_service:
"""


@click.command()
@click.option("--probe", is_flag=True, help="Also try to reach every provider.")
@config_option
@json_option
@fails_cleanly
def check(probe: bool, config: str | None, as_json: bool) -> None:
    """Check the configuration and say what it amounts to."""
    line = open_line(config)
    found = line.config
    reached = line.status() if probe else {}
    if as_json:
        print_json(
            {
                "source": found.source,
                "default_provider": found.default_provider,
                "default_model": found.default_model,
                "providers": {
                    name: {"models": list(p.models), "reachable": reached.get(name)}
                    for name, p in found.providers.items()
                },
                "groups": list(found.groups),
                "budgets": [budget.scope for budget in found.budgets],
                "warnings": list(found.warnings),
            }
        )
    else:
        click.echo(f"{found.source}: good")
        click.echo(f"default provider: {found.default_provider or 'none'}")
        for name, provider in found.providers.items():
            word = {True: ", reachable", False: ", NOT reachable", None: ""}[reached.get(name)]
            models = ", ".join(provider.models) or "any model"
            click.echo(f"provider {name}: {models}{word}")
        for name in found.groups:
            click.echo(f"group {name}")
        for budget in found.budgets:
            click.echo(f"budget on {budget.scope} per {budget.period}")
    if not all(reached.values()):
        raise SystemExit(1)


@click.command()
@click.argument("path", type=click.Path(dir_okay=False), default="trunkline.yaml")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@json_option
@fails_cleanly
def init(path: str, force: bool, as_json: bool) -> None:
    """Write a configuration from what is found here: keys in the environment, local servers."""
    target = Path(path)
    if target.exists() and not force:
        raise click.UsageError(f"{path} exists; --force writes over it")
    rows = catalog.rows().values()
    keyed = {
        row.name: variable
        for row in rows
        if (variable := next(filter(os.environ.get, row.key_variables), None))
    }
    local = {row.name: row.base_url for row in rows if row.local and row.base_url}
    up = [name for name, yes in reachable(local).items() if yes]
    text = _yaml(keyed, {name: local[name] for name in up})
    target.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"path": path, "providers": [*keyed, *up]})
    else:
        click.echo(f"wrote {path}: {', '.join([*keyed, *up]) or 'the demo provider'}")


def _yaml(keyed: dict[str, str], local: dict[str, str]) -> str:
    names = [*keyed, *local] or ["demo"]
    lines = [f"  default_provider: {names[0]}"]
    if len(names) > 1:
        lines.append(f"  fallback_chain: [{', '.join(names)}]")
    lines.append("  providers:")
    for name, variable in keyed.items():
        lines += [f"    {name}:", f"      api_key: ${{{variable}}}"]
    for name, url in local.items():
        lines += [f"    {name}:", f"      base_url: {url}"]
    if names == ["demo"]:
        lines.append("    demo: {}")
    return _HEAD + "\n".join(lines) + "\n"
