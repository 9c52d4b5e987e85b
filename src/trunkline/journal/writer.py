"""Append records to this process's own file; what was flushed survives `kill -9`."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
import secrets
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import msgspec

from trunkline.clock import Clock
from trunkline.errors import RecordError
from trunkline.journal.frames import MAX_RECORD_BYTES, MOST_RECORDS, frame, mend, seed_of
from trunkline.types.record import Begun, Record

LIMIT_BYTES = 16 * 1024 * 1024

_to_disk = getattr(os, "fdatasync", os.fsync)  # which macOS lacks: the times of a file may wait

# One for all journals of the process and taken around a fork, so that no child inherits a file
# which is only half opened. Reentrant: a signal handler may fork.
_lock = threading.RLock()
_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal:
    """The journal of this process in `folder` (`<data>/journal`); safe to use from any thread.

    A file is made at the first flush, and a new one when it has grown to `limit_bytes`. After a
    fork the child writes to a file of its own. `append` costs one `write(2)` and waits for no
    disk; somebody has to call `sync` every 100 ms to bound what a power failure takes.
    """

    def __init__(self, folder: Path, *, clock: Clock, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = Path(folder)
        self._clock = clock
        self._limit_bytes = limit_bytes
        self.wake: Callable[[], None] = lambda: None
        """Told of each flush, for whoever calls `sync`."""
        self._encode = msgspec.msgpack.Encoder().encode
        self._begin_life()
        _journals.add(self)

    def _begin_life(self) -> None:
        time = datetime.datetime.fromtimestamp(self._clock.now_ns() / 1e9, tz=datetime.UTC)
        self._owner = f"{time:%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(8)}"
        self._seed = seed_of(self._owner)
        self._files = 0
        self._fd: int | None = None
        self._size_bytes = 0
        self._pending: list[bytes] = []
        self._made = False
        """Whether there is a file that a power failure would take out of the folder."""
        self._retired: list[int] = []
        """Full files that are not yet on the disk."""
        self._dirty = False
        self._syncing = threading.Lock()
        """Held while files reach the disk, so that none is closed meanwhile."""

    def append(self, record: Record, *, flush: bool) -> None:
        """Add `record`; with `flush`, write it and all that waits before returning.

        A `Begun` that cannot be written is forgotten, for its attempt will not be made. What has
        happened already (`Ended`, `Called`) waits for the next flush.

        Raises:
            RecordError: the file cannot be written.
        """
        try:
            payload = self._encode(record)
        except (UnicodeEncodeError, OverflowError):
            payload = self._encode(mend(record))
        if len(payload) > MAX_RECORD_BYTES:
            payload = self._encode(mend(record))
        with _lock:
            self._pending.append(payload)
            if not flush:
                return
            try:
                self._write()
            except OSError as error:
                if type(record) is Begun:
                    self._pending.pop()
                raise self._refusal(error) from error
        self.wake()

    def owner(self) -> str:
        """Return the name of this life, once there is a file by which it is known.

        Raises:
            RecordError: the file cannot be made.
        """
        with _lock:
            try:
                if self._fd is None:
                    self._open()
            except OSError as error:
                raise self._refusal(error) from error
            return self._owner

    def check(self) -> None:
        """Open the file if there is none yet, and write what waits.

        Raises:
            RecordError: that cannot be done.
        """
        with _lock:
            try:
                if self._pending:
                    self._write()
                elif self._fd is None:
                    self._open()
            except OSError as error:
                raise self._refusal(error) from error

    def sync(self) -> None:
        """Bring everything appended so far to the disk; cheap when there is nothing new.

        Raises:
            RecordError: the file cannot be written, or somebody deleted it.
        """
        with self._syncing:
            try:
                with _lock:
                    if self._pending:
                        self._write()
                    retired = list(self._retired)
                    current = self._fd if self._dirty else None
                    made = self._made
                    self._dirty = self._made = False
                self._fsync(retired, current)
                if made:
                    self._fsync_folder()
            except OSError as error:
                self._dirty = self._made = True
                raise self._refusal(error) from error
            with _lock:
                self._retired = self._retired[len(retired) :]
                for fd in retired:
                    os.close(fd)

    def close(self) -> None:
        """Write and sync what waits, then let go of the file. A later append opens a new one.

        Raises:
            RecordError: what waits cannot be written; the file is let go all the same.
        """
        try:
            self.sync()
        finally:
            with self._syncing, _lock:
                # Unlocked by name: a fork that Python was not told of may hold a copy.
                for fd in self._held():
                    fcntl.flock(fd, fcntl.LOCK_UN)
                    os.close(fd)
                self._fd, self._retired, self._dirty = None, [], False

    def _held(self) -> list[int]:
        return [*self._retired, *([] if self._fd is None else [self._fd])]

    def _write(self) -> None:
        while self._pending:
            fd = self._fd
            if fd is None or self._size_bytes >= self._limit_bytes:
                fd = self._open()
            data = frame(self._pending[:MOST_RECORDS], self._seed)
            written = os.write(fd, data)
            if written < len(data):
                self._write_rest(fd, data, written)
            del self._pending[:MOST_RECORDS]  # a reader may have seen it
            self._size_bytes += len(data)
            self._dirty = True

    def _write_rest(self, fd: int, data: bytes, written: int) -> None:
        """Write what a write left over, or take back what it wrote."""
        try:
            while written < len(data):
                written += os.write(fd, data[written:])
        finally:
            if 0 < written < len(data):
                self._cut_back(fd, written)

    def _cut_back(self, fd: int, written: int) -> None:
        """Remove the part of a frame that was written."""
        try:
            self._size_bytes = os.fstat(fd).st_size - written
            os.ftruncate(fd, self._size_bytes)
        except OSError:
            self._retire()

    def _open(self) -> int:
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        while (fd := self._create()) is None:
            pass
        self._retire()
        self._fd, self._size_bytes, self._dirty, self._made = fd, 0, True, True
        return fd

    def _create(self) -> int | None:
        """Open and lock the next file; None if an ingester took it for a dead one meanwhile."""
        path = self._folder / f"{self._owner}.{self._files:06}.log"
        self._files += 1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return fd
        except BlockingIOError:
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _retire(self) -> None:
        if self._fd is not None:
            self._retired.append(self._fd)
            self._fd = None

    def _fsync(self, retired: list[int], current: int | None) -> None:
        for fd in retired:
            _to_disk(fd)
        if current is None:
            return
        _to_disk(current)
        if not os.fstat(current).st_nlink:
            with _lock:
                if self._fd == current:
                    self._retire()
            raise FileNotFoundError(errno.ENOENT, "the file was deleted while in use")

    def _fsync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _refusal(self, error: OSError) -> RecordError:
        return RecordError(
            f"cannot write the journal in {self._folder}: {error}. No call is made that cannot be "
            "recorded: free space or make the folder writable, or set TRUNKLINE_DATA to "
            "another folder"
        )

    def _leave_parent(self) -> None:
        """Forget, in a forked child, what belongs to the parent.

        The descriptors share the parent's lock: closed here, they no longer keep it alive.
        """
        for fd in self._held():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._begin_life()


def _after_fork_in_child() -> None:
    for journal in _journals:
        journal._leave_parent()
    _lock.release()


os.register_at_fork(
    before=_lock.acquire,
    after_in_parent=_lock.release,
    after_in_child=_after_fork_in_child,
)
