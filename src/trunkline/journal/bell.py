"""Ask the steward of a data folder to ingest, where there is one.

It counts what it ingests, so whoever needs the latest rows asks it rather than doing it himself.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

_LONGEST_PATH_BYTES = 100
"""Linux takes 107, macOS 103. Source: https://man7.org/linux/man-pages/man7/unix.7.html
(2026-11-20)."""
_PATIENCE_S = 2.0
_ASKED = b"POST /ingest HTTP/1.1\r\nhost: steward\r\ncontent-length: 0\r\n\r\n"


def socket_path(data_dir: Path, *, make: bool = False) -> Path:
    """Return where the steward of `data_dir` listens: in it, or where that is too long a path, in
    a folder of this user's, which is made if `make`.

    Raises:
        OSError: that folder is not there, or is not this user's alone.
    """
    path = data_dir / "steward.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES:
        return path
    folder = Path(tempfile.gettempdir(), f"trunkline-{os.getuid()}")
    if make:
        folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of yours with mode 0700; remove it")
    return folder / f"{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:24]}.sock"


def ring(data_dir: Path) -> bool:
    """Have everything ingested that is written by now; False if there is no steward to do it."""
    try:
        with socket.socket(socket.AF_UNIX) as steward:
            steward.settimeout(_PATIENCE_S)
            steward.connect(str(socket_path(data_dir)))
            steward.sendall(_ASKED)
            return steward.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
