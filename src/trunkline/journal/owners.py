"""Whose journals are in a data folder, and which of their processes live."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from trunkline.journal.frames import owner_of


def owners(data_dir: Path) -> dict[str, bool]:
    """Return for each owner with files in `<data_dir>/journal` whether its process lives.

    A process holds a lock on its file, which goes with it.
    """
    found: dict[str, bool] = {}
    for path in sorted((Path(data_dir) / "journal").glob("*.log")):
        with contextlib.suppress(FileNotFoundError):  # ingested meanwhile
            found[owner_of(path)] = found.get(owner_of(path), False) or _locked(path)
    return found


def _locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            # A shared one, so that two who look do not take each other for the owner.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
        return False
