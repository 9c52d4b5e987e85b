"""What workers know of keys and budgets, kept beside the journal for the next one that starts.

The file is for this user only, and has no key: digests, under a pepper that is not in it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.storage.snapshot import Snapshot

_FILE = "known.bin"


class Kept(Struct, frozen=True, kw_only=True):
    """A snapshot, and of what."""

    database: str
    """`Database.name`: that of another one says nothing of this."""
    snapshot: Snapshot


def keep(data_dir: Path, kept: Kept) -> None:
    """Put `kept` in the place of what was kept before; whoever reads finds one of them, whole.

    Raises:
        OSError: it cannot be written; what was kept before still is.
    """
    fd, draft = tempfile.mkstemp(prefix=f"{_FILE}.", dir=data_dir)  # 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.msgpack.encode(kept))
            file.flush()
            os.fsync(fd)
        os.replace(draft, data_dir / _FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def recall(data_dir: Path, database: str) -> Snapshot | None:
    """Return what was kept last of a database; None = nothing, or nothing that can be read."""
    try:
        kept = msgspec.msgpack.decode((data_dir / _FILE).read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return None
    return kept.snapshot if kept.database == database else None
