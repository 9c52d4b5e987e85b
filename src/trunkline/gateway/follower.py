"""Keys and budgets that were made at run time, in a worker: at most a second old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from trunkline.client import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.holders import Holder, made
from trunkline.gateway.kept import Kept, keep, recall
from trunkline.storage import principals
from trunkline.storage.snapshot import Snapshot, snapshot

EVERY_S = 1.0
_WAITING = (
    "the database could not be read since this process was started, so that nobody knows which "
    "budgets there are"
)
logger = logging.getLogger("trunkline.gateway")


class Follower:
    """Keeps a gateway and its line to what the database says."""

    def __init__(self, line: Trunkline, gateway: Gateway) -> None:
        """Until something is known of the database, the gateway answers no calls."""
        self._line = line
        self._gateway = gateway
        self._seen: tuple[int, frozenset[str]] | None = None
        """Which version was taken, and for which users of declared keys."""
        self._looking = asyncio.Lock()
        self._trouble = ""
        gateway.waiting = _WAITING

    async def keep_looking(self) -> None:
        """Look each second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Take what has changed; where the database cannot be read, all stays as it was."""
        async with self._looking:
            try:
                found = await asyncio.to_thread(self._changed)
            except Exception as error:  # whatever it is, calls must not suffer from it
                if str(error) != self._trouble:  # said once, not each second
                    logger.error("keys and budgets made at run time stay as they were: %s", error)
                self._trouble = str(error)
                found = await asyncio.to_thread(self._recalled) if self._gateway.waiting else None
            else:
                self._trouble = ""
            if found is not None:
                self._gateway.follow(found)

    def _changed(self) -> Mapping[bytes, Holder] | None:
        """Take budgets and limits, and return the keys by digest; None = nothing has changed."""
        database = self._line.store.database
        config = self._line.config
        users = config.key_users
        with database.session() as db:
            if (principals.version(db), users) == self._seen:
                return None
        found = snapshot(database, users)
        taken = self._taken(found)
        self._seen = found.version, users
        try:
            keep(config.data_dir, Kept(database=database.name, snapshot=found))
        except OSError as error:
            logger.warning("keys and budgets cannot be kept for workers to come: %s", error)
        return taken

    def _recalled(self) -> Mapping[bytes, Holder] | None:
        """Do the same with what a worker knew before this one; None = nothing is known."""
        found = recall(self._line.config.data_dir, self._line.store.database.name)
        if found is None:
            return None
        logger.warning("keys and budgets are those that were known before this process started")
        return self._taken(found)

    def _taken(self, found: Snapshot) -> Mapping[bytes, Holder]:
        # Before the keys: none of them may be shown before its budget and limits are known.
        self._line.follow(found.rules, [key.rates for key in found.keys])
        return made(found.keys)
