"""Variables: the process's own, then those of `.env`; and `${NAME}` in a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$\{{({_NAME})(?::-([^}}]*))?\}}|\Aos\.environ/({_NAME})\Z")
_LOOKS_MEANT = re.compile(rf"\$\{{|\A\$\(?{_NAME}\)?\Z|\Aos\.environ/")
_ASSIGNMENT = re.compile(
    rf"""(?xm)
    ^ [ \t]* (?:export[ \t]+)? ({_NAME}) [ \t]* = [ \t]*
    (?: '([^']*)' | "((?:[^"\\]|\\.)*)" | ([^\n]*?) )
    [ \t]* (?:(?<=[ \t])\#[^\n]*)? \r? $
    """
)
_IGNORED = re.compile(r"\s*(#.*)?")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Environment:
    """Variables by name; what is empty or blank counts as not set.

    The process wins over `.env`. A name is found in another case as well, because some tools write
    their settings as `openai_api_key`.
    """

    def __init__(self, process: Mapping[str, str], dotenv: Mapping[str, str] | None = None) -> None:
        self._sources = [
            (source, {k.upper(): k for k in source}) for source in (process, dotenv or {})
        ]

    def get(self, name: str) -> str | None:
        """Return the value of `name`, or None if it is not set."""
        for source, folded in self._sources:
            key = name if name in source else folded.get(name.upper())
            if key is not None:
                return source[key].strip() or None
        return None

    def first(self, names: Iterable[str]) -> str | None:
        """Return the first value that is set among `names`."""
        return next((value for name in names if (value := self.get(name))), None)

    def expand(self, text: str) -> str:
        """Put values in the place of `${NAME}`, `${NAME:-default}` and `os.environ/NAME`."""

        def value(match: re.Match[str]) -> str:
            return self.get(match[1] or match[3]) or match[2] or ""

        return _REFERENCE.sub(value, text)

    def missing(self, tree: Any) -> list[str]:
        """Return the names that `tree` refers to, without a default, and that are not set."""
        names = [
            match[1] or match[3]
            for text in _texts(tree)
            for match in _REFERENCE.finditer(text)
            if match[2] is None
        ]
        return [name for name in dict.fromkeys(names) if self.get(name) is None]


def malformed(text: str) -> bool:
    """Tell whether `text` holds something that is almost a reference to a variable."""
    return bool(_LOOKS_MEANT.search(_REFERENCE.sub("", text)))


def read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """Read a `.env` file, if there is one: its variables, and a warning for each odd line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path} cannot be read and is ignored: {type(error).__name__}"]
    variables: dict[str, str] = {}
    for match in _ASSIGNMENT.finditer(text):
        name, single, double, bare = match.groups()
        if double is not None:
            single = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), double, flags=re.DOTALL)
        variables[name] = bare if single is None else single
    rest = _ASSIGNMENT.sub(lambda match: "\n" * match[0].count("\n"), text)
    return variables, [
        f"{path} line {number} is not NAME=value and is ignored"
        for number, line in enumerate(rest.split("\n"), start=1)
        if not _IGNORED.fullmatch(line)
    ]


def _texts(tree: Any) -> Iterable[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _texts(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _texts(value)
