"""Ingestion of the journal by this process, or by the steward beside it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from trunkline.client.hooks import Hooks
from trunkline.errors import RecordError
from trunkline.journal import ingest
from trunkline.journal.bell import ring
from trunkline.storage.store import Store

_BUSY_S = 0.02
PATIENCE_S = 5.0
"""How long to wait for another process that is at it."""


class Ingestion:
    """Brings journal rows into the store, unless another process is at it."""

    def __init__(self, data_dir: Path, store: Store, hooks: Hooks) -> None:
        self._data_dir = data_dir
        self._store = store
        self._hooks = hooks
        self.renew()

    def renew(self) -> None:
        """Forget who is running, after a fork."""
        self._running = threading.Lock()

    def run(self, *, wait_s: float = 0.0) -> None:
        """Ingest, or have it done; for at most `wait_s` wait for another process that is at it.

        Raises:
            RecordError: the journal cannot be read, or the store not written; nothing is lost.
        """
        until_s = time.monotonic() + wait_s
        with self._running:
            self._hooks.subscribe()
            try:
                self._ingest(until_s)
            except OSError as error:
                raise RecordError(
                    f"cannot bring the journal in {self._data_dir} into the records: {error}. "
                    "Nothing is lost: make the folder and its files readable and writable"
                ) from error
        self._hooks.wake()

    def _ingest(self, until_s: float) -> None:
        if not ring(self._data_dir):
            while ingest(self._data_dir, self._store).busy and time.monotonic() < until_s:
                time.sleep(_BUSY_S)

    def close(self) -> None:
        """Let go of the store."""
        self._hooks.stop()
        self._store.close()
