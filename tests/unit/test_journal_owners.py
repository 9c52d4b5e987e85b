"""Who lives is known by the locks on the files of its journal."""

from __future__ import annotations

from pathlib import Path

from trunkline.journal import Journal
from trunkline.journal.owners import owners
from trunkline.testing import ManualClock


def test_nobody(tmp_path: Path) -> None:
    """Without a folder there is no owner."""
    assert owners(tmp_path) == {}


def test_the_living_and_the_dead(tmp_path: Path) -> None:
    """One of several files that is locked is enough; a look changes nothing."""
    journal = Journal(tmp_path / "journal", clock=ManualClock())
    owner = journal.owner()
    for name in (f"{owner}.999999.log", "dead.000000.log"):
        (tmp_path / "journal" / name).touch()
    for _ in range(2):
        assert owners(tmp_path) == {owner: True, "dead": False}
    journal.close()
    assert owners(tmp_path) == {owner: False, "dead": False}
