"""`init` and `check`: write a configuration, and say whether one is good."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import click

from trunkline import catalog
from trunkline.cli.frame import config_option, fails_cleanly, json_option, open_line, print_json
from trunkline.config import Config, Provider, from_mapping
from trunkline.config.environment import Environment, read_dotenv
from trunkline.discovery import LocalServer, local_servers
from trunkline.errors import ConfigError

_HEAD = """\
# Written by `trunkline init`. Every key is described in docs/reference/configuration.md.
llm_service:
"""
_CHAIN = """\
  # Where a call goes on when a provider fails. Whoever takes over for another needs `models:`,
  # so that there is something to ask it for.
"""


@click.command()
@click.option("--probe", is_flag=True, help="Also try to reach every provider.")
@config_option
@json_option
@fails_cleanly
def check(probe: bool, config: str | None, as_json: bool) -> None:
    """Check the configuration and say what it amounts to.

    Exit code 1 when it cannot be used, or when --probe does not reach every provider.
    """
    line = open_line(config)
    reached = line.status() if probe else {}
    if as_json:
        print_json(_fields(line.config, reached))
    else:
        for text in _lines(line.config, reached):
            click.echo(text)
    if not all(reached.values()):
        raise SystemExit(1)


def _fields(config: Config, reached: dict[str, bool]) -> dict[str, object]:
    return {
        "source": config.source,
        "data_dir": str(config.data_dir),
        "default_provider": config.default_provider,
        "default_model": config.default_model,
        "providers": {
            name: {"models": list(provider.models), "reachable": reached.get(name)}
            for name, provider in config.providers.items()
        },
        "disabled": config.disabled,
        "fallback_chain": list(config.fallback_chain),
        "groups": list(config.groups),
        "aliases": config.aliases,
        "budgets": [budget.scope for budget in config.budgets],
        "warnings": list(config.warnings),
    }


def _lines(config: Config, reached: dict[str, bool]) -> Iterable[str]:
    yield f"{config.source}: good"
    yield f"data folder: {config.data_dir}"
    yield f"default provider: {config.default_provider or 'none'}"
    yield f"default model: {config.default_model or 'none'}"
    for name, provider in config.providers.items():
        word = {True: ", reachable", False: ", NOT reachable", None: ""}[reached.get(name)]
        yield f"provider {name}: {_asked_for(provider)}{word}"
    for name, why in config.disabled.items():
        yield f"provider {name}: DISABLED, {why}"
    if config.fallback_chain:
        yield f"fallback chain: {', '.join(config.fallback_chain)}"
    for name, group in config.groups.items():
        yield f"group {name}: {', '.join(row.name for row in group.deployments) or 'nobody'}"
    for name, target in config.aliases.items():
        yield f"alias {name}: {target}"
    for budget in config.budgets:
        rolling = "rolling " if budget.rolling else ""
        zone = f" in {budget.timezone}" if budget.timezone != "UTC" else ""
        yield f"budget on {budget.scope} per {rolling}{budget.period}{zone}, {budget.mode}"


def _asked_for(provider: Provider) -> str:
    models = ", ".join(provider.models)
    if not provider.open:
        return models
    if provider.usual_model and not models:
        return f"any model, {provider.usual_model} when none is named"
    return f"{models} and any other model" if models else "any model"


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, allow_dash=True), default="trunkline.yaml")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@json_option
@fails_cleanly
def init(path: str, force: bool, as_json: bool) -> None:
    """Write a configuration from what is found here: the environment, .env, local servers.

    PATH is trunkline.yaml if not given; "-" prints it. No key is written, only the name of the
    variable that holds it.
    """
    target = Path(path)
    if path != "-" and target.exists() and not force:
        raise click.UsageError(f"{path} exists; --force writes over it")
    dotenv, _ = read_dotenv(target.parent / ".env")
    variables = {**dotenv, **os.environ}
    sections = _sections(variables)
    text = _yaml(sections)
    try:
        if path != "-":
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"path": path, "providers": list(sections), "text": text})
    elif path == "-":
        click.echo(text, nl=False)
    else:
        click.echo(f"wrote {path}: {', '.join(sections)}")


def _sections(variables: dict[str, str]) -> dict[str, list[str]]:
    """Return the lines for each provider, the default one first.

    They are the ones that count without a file, and the local servers that answer.
    """
    found = from_mapping({}, variables)
    environment = Environment(variables)
    sections = {
        provider.name: _section(provider, environment) for provider in found.providers.values()
    }
    servers = {
        server.name: _found(server)
        for server in local_servers(environment)
        if server.name not in sections
    }
    if list(sections) == ["demo"] and environment.get("LLM_PROVIDER") is None and servers:
        return servers
    return sections | servers


def _found(server: LocalServer) -> list[str]:
    lines = [f"base_url: {server.base_url}"]
    if server.models:  # in quotes: names have colons
        lines.append(f"models: {json.dumps(server.models)}")
    return lines


def _section(provider: Provider, environment: Environment) -> list[str]:
    row = catalog.row(provider.type)
    if row is None:
        return []
    keys = {"api_key": row.key_variables, "base_url": (row.url_variable,)}
    return [
        f"{key}: ${{{variable}}}"
        for key, names in keys.items()
        if (variable := next(filter(environment.get, names), None))
    ]


def _yaml(sections: dict[str, list[str]]) -> str:
    names = list(sections)
    text = f"{_HEAD}  default_provider: {names[0]}\n"
    if len(names) > 1:
        text += f"{_CHAIN}  fallback_chain: [{', '.join(names)}]\n"
    text += "  providers:\n"
    for name, lines in sections.items():
        text += f"    {name}:{'' if lines else ' {}'}\n"
        text += "".join(f"      {line}\n" for line in lines)
    return text
