"""What is installed is what was tested: exact versions, by their hashes, from whatever index."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"(?P<name>[a-z0-9._-]+)==(?P<version>[^\s;]+)(?: ;[^\\]+)? \\", re.IGNORECASE)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))


def pins(lock: str) -> dict[str, list[str]]:
    """Return each requirement of a lock file with its hashes; any other line fails."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / "requirements" / lock).read_text().splitlines():
        if pinned := PINNED.fullmatch(line):
            name = f"{pinned['name']} {line.partition(';')[2]}"
            found[name] = []
        elif HASH.fullmatch(line):
            found[name].append(line)
        else:
            assert line.startswith("#"), f"{lock}: {line}"
    return found


@pytest.mark.acceptance("K10")
@pytest.mark.parametrize("lock", LOCKS)
def test_each_requirement_is_one_version_by_its_hashes(lock: str) -> None:
    """A release made later, or changed under its old name, gets in by an edit of the lock only."""
    found = pins(lock)
    assert len(found) >= 5
    assert [name for name, hashes in found.items() if not hashes] == []


@pytest.mark.acceptance("K10")
def test_no_release_of_a_later_kind_gets_in() -> None:
    """Whoever installs without the lock is kept below the next release that may break things."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"].get("postgres", ())]
    assert [one for one in wanted if "<" not in one and "==" not in one] == []


@pytest.mark.acceptance("K10")
def test_litellm_is_not_among_what_runs() -> None:
    """The package whose releases took all memory is no dependency; who wants it pins it."""
    assert not any(name.startswith("litellm ") for name in pins("run.txt"))
