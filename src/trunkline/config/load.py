"""From a file, a mapping or the environment alone to a `Config`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.config.environment import Environment, read_dotenv
from trunkline.config.model import Config
from trunkline.config.root import read
from trunkline.errors import ConfigError
from trunkline.observability.redact import scrub

FILE = "trunkline.yaml"


def load(
    path: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    found: Callable[[Environment], Mapping[str, Any]] | None = None,
) -> Config:
    """Read the configuration: `path`, else $TRUNKLINE_CONFIG, else ./trunkline.yaml if there is
    one, else the environment alone. A `.env` beside it is read as well; the process wins.

    Args:
        found: asked for entries of `providers:` where nothing names one, before `demo` is used.

    Raises:
        ConfigError: with the file, the path of the key, what stands there and what to write.
    """
    process = os.environ if environ is None else environ
    chosen = path or Environment(process).get("TRUNKLINE_CONFIG")
    if chosen is None and Path(FILE).is_file():
        chosen = FILE
    folder = Path() if chosen is None else Path(chosen).parent
    dotenv, warnings = read_dotenv(folder / ".env")
    environment = Environment(process, dotenv)
    if chosen is None:
        return _without_file(environment, warnings, found)
    return read(_parse(Path(chosen)), environment, str(chosen), warnings)


def from_mapping(
    data: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    source: str = "configuration",
) -> Config:
    """Read a configuration that is in memory, in the shape that the file has.

    Raises:
        ConfigError: as `load` does.
    """
    return read(data, Environment(os.environ if environ is None else environ), source, [])


def from_model_list(
    model_list: Sequence[Mapping[str, Any]],
    fallbacks: Sequence[Mapping[str, Sequence[str]]] | None = None,
    num_retries: int | None = None,
    routing_strategy: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read LiteLLM's form, as its `Router` takes it.

    Raises:
        ConfigError: as `load` does.
    """
    data = {
        "model_list": model_list,
        "fallbacks": fallbacks,
        "num_retries": num_retries,
        "routing_strategy": routing_strategy,
    }
    return from_mapping(data, environ, source="Router")


def _without_file(
    environment: Environment,
    warnings: list[str],
    found: Callable[[Environment], Mapping[str, Any]] | None,
) -> Config:
    config = read({}, environment, "environment", [*warnings])
    if found is None or [*config.providers] != ["demo"] or environment.get("LLM_PROVIDER"):
        return config
    entries = found(environment)
    if not entries:
        return config
    told = [
        f"no provider is configured, so {name} is used, which answers at {entry['base_url']} "
        "(TRUNKLINE_DISCOVERY=off looks for no server)"
        for name, entry in entries.items()
    ]
    written = {"providers": dict(entries), "default_provider": next(iter(entries))}
    return read({"llm_service": written}, environment, "environment", [*warnings, *told])


def _parse(path: Path) -> Any:
    """Read YAML.

    Raises:
        ConfigError: no such file, or it is no YAML. The parser's own text is not repeated whole,
            because it quotes lines of the file.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
        tree = loader.get_single_node()
        if tree is None:
            return {}
        _refuse_repeated_keys(tree, path)
        return loader.construct_document(tree)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: it cannot be read ({type(error).__name__})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = scrub(getattr(error, "problem", None) or "a value that cannot be read")
        raise ConfigError(
            f"{path}{place}: this is not YAML ({problem}); check indentation, quotes and colons"
        ) from None


def _refuse_repeated_keys(node: Any, path: Path) -> None:
    """Check a tree of YAML nodes: of a key that stands twice, YAML would take the last."""
    seen: set[str] = set()
    for part in node.value if isinstance(node.value, list) else ():
        key, value = part if isinstance(part, tuple) else (None, part)
        _refuse_repeated_keys(value, path)
        if key is None or not isinstance(key.value, str):
            continue
        if key.value in seen and key.value != "<<":
            line = key.start_mark.line + 1
            raise ConfigError(f"{path} line {line}: the key {key.value!r} stands twice")
        seen.add(key.value)
