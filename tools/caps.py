"""Check the size caps: `python -m tools.caps`.

A file of `src` has at most 300 lines, a file of `tests` 500, a function of `src` 50 (from its
`def`, docstring included). What must be longer stands in `tools/ratchet.toml` with its present
number and a reason; it may shrink, never grow, and the entry has to go when nothing needs it any
more. Complexity and argument counts are ruff's.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE_LINES = 300
TEST_FILE_LINES = 500
FUNCTION_LINES = 50


@dataclass(frozen=True)
class Size:
    """One measured thing: a file (`src/x.py`) or a function (`src/x.py::A.f`)."""

    name: str
    lines: int
    cap: int


@dataclass(frozen=True)
class Exemption:
    """One entry of the ratchet: the most lines a named thing may have, and why it may."""

    lines: int
    reason: str


def sizes(root: Path) -> Iterator[Size]:
    """Measure every Python file under `root/src` and `root/tests`, and every function of `src`."""
    for folder, cap in (("src", FILE_LINES), ("tests", TEST_FILE_LINES)):
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            name = path.relative_to(root).as_posix()
            yield Size(name, len(text.splitlines()), cap)
            if folder == "src":
                yield from _functions(ast.parse(text, name), f"{name}::")


def _functions(node: ast.AST, prefix: str) -> Iterator[Size]:
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{prefix}{child.name}."
            if not isinstance(child, ast.ClassDef):
                lines = (child.end_lineno or child.lineno) - child.lineno + 1
                yield Size(prefix + child.name, lines, FUNCTION_LINES)
        yield from _functions(child, inner)


def read_ratchet(path: Path) -> dict[str, Exemption]:
    """Read the ratchet file; an entry without a number or a reason is an error."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("exempt", {})
    ratchet = {
        name: Exemption(int(row["lines"]), row["reason"].strip()) for name, row in entries.items()
    }
    for name, entry in ratchet.items():
        if not entry.reason:
            raise ValueError(f"{path.name}: {name} has no reason")
    return ratchet


def complaints(measured: list[Size], ratchet: Mapping[str, Exemption]) -> Iterator[str]:
    """Say what is over its cap, what outgrew the ratchet, and which entries nothing needs."""
    needed = set()
    for size in measured:
        if size.lines <= size.cap:
            continue
        entry = ratchet.get(size.name)
        if entry is None:
            yield f"{size.name}: {size.lines} lines, the cap is {size.cap}"
            continue
        needed.add(size.name)
        if size.lines > entry.lines:
            yield f"{size.name}: {size.lines} lines, the ratchet stands at {entry.lines}"
    for name in sorted(ratchet.keys() - needed):
        yield f"{name}: within its cap or gone; take it out of tools/ratchet.toml"


def main(root: Path = Path()) -> int:
    """Print the complaints about the tree at `root`; 1 if there are any."""
    found = list(complaints(list(sizes(root)), read_ratchet(root / "tools" / "ratchet.toml")))
    for line in found:
        print(f"caps: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
