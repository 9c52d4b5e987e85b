"""Keys and budgets that were made at run time, in a worker: at most a second old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from trunkline.client import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.holders import Holder, made
from trunkline.storage import principals

EVERY_S = 1.0
_WAITING = (
    "the database could not be read since this process was started, so that nobody knows which "
    "budgets there are"
)
logger = logging.getLogger("trunkline.gateway")


class Follower:
    """Keeps a gateway and its line to what the database says."""

    def __init__(self, line: Trunkline, gateway: Gateway) -> None:
        """Until the database has been read once, the gateway answers no calls."""
        self._line = line
        self._gateway = gateway
        self._version = -1
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
                return
            self._trouble = ""
            if found is not None:
                self._gateway.follow(found)

    def _changed(self) -> Mapping[bytes, Holder] | None:
        """Take budgets and limits, and return the keys by digest; None = nothing has changed."""
        database = self._line.store.database
        with database.session() as db:
            if principals.version(db) == self._version:
                return None
        snapshot = principals.snapshot(database)
        # Before the keys: none of them may be shown before its budget and limits are known.
        self._line.follow(snapshot.budgets, [key.rates for key in snapshot.keys])
        self._version = snapshot.version
        return made(snapshot.keys)
