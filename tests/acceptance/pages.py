"""README and docs as data: code blocks, tables, links."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]

_FENCE = re.compile(r"(?ms)^```([^\n]*)\n(.*?)^```$")
_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml|toml))\n")


class Block(NamedTuple):
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    note: str
    """What follows the language."""
    text: str

    @property
    def file(self) -> str | None:
        """The path that its first line names: the block is that file."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """Return the page's path from the root of the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the page's blocks in one of `languages`, in order."""
    text = page.read_text()
    return [
        Block(page, text[: found.start()].count("\n") + 1, language, note, found[2])
        for found in _FENCE.finditer(text)
        for language, _, note in [found[1].partition(" ")]
        if language in languages
    ]


def prose(page: Path) -> str:
    """Return the page without its blocks."""
    return _FENCE.sub("", page.read_text())


def tables(page: Path) -> dict[str, list[dict[str, str]]]:
    """Return the rows of the tables under each heading, by the words of the table's head."""
    found: dict[str, list[dict[str, str]]] = {}
    heading = ""
    head: list[str] = []
    for line in prose(page).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif set(line) - set("|-"):
            found.setdefault(heading, []).append(dict(zip(head, cells, strict=True)))
    return found


def words(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield (path, anchor) of each link that stays in the project."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as they are made on the web."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
