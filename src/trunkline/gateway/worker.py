"""A data worker: the gateway on one listening socket, and nothing heavy."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket

import uvloop

from trunkline.client import Trunkline
from trunkline.config.handover import decode
from trunkline.gateway.app import Gateway
from trunkline.gateway.follower import Follower
from trunkline.gateway.keys import KeyRing, admin_key, secret
from trunkline.gateway.link import Link
from trunkline.gateway.seen import seen
from trunkline.gateway.server import Server
from trunkline.gateway.told import Told, told
from trunkline.gateway.uplink import Report, keep_telling

_GARBAGE = 20_000
"""Objects between two collections: a call leaves no cycles, and the usual 700 are a few calls'."""

logger = logging.getLogger("trunkline.gateway")


class Worker:
    """What the process does."""

    def __init__(self, told: Told, link: Link) -> None:
        self._told = told
        self._link = link
        config = decode(link.first())
        self._line = Trunkline(config, ingesting=False)
        key, _ = admin_key(os.environ, config.data_dir)
        ring = KeyRing(secret(os.environ, config.data_dir), key, config.keys)
        self._gateway = Gateway(self._line, ring)
        self._follower = Follower(self._line, self._gateway)
        self._gateway.on_change = self._follower.look
        self._server = Server(self._gateway)
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serve until the supervisor has ended the link, or somebody this process."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        loop.add_reader(self._link.fd, self._hear)
        await self._follower.look()
        telling = loop.create_task(keep_telling(self._line.config.data_dir, self._report))
        following = loop.create_task(self._follower.keep_looking())
        await self._server.start(socket.socket(fileno=self._told.listener))
        self._link.tell_ready()
        await self._ending.wait()
        await self._server.stop()
        following.cancel()
        await self._line.close()
        telling.cancel()

    def _hear(self) -> None:
        """Take what the supervisor says: another configuration, or the end."""
        for data in self._link.hear():
            try:
                self._gateway.reload(decode(data))
            except Exception:  # it was checked; yet no call may suffer from it
                logger.exception("the configuration could not be taken")
        if self._link.ended:
            asyncio.get_running_loop().remove_reader(self._link.fd)
            self._ending.set()

    def _report(self) -> Report:
        line, state = self._line, self._line.state
        line.touch()
        now_s = line.clock.monotonic_s()
        return Report(
            pid=os.getpid(),
            open_requests=len(self._server.tasks),
            restarts=self._told.restarts,
            resting=line.health.open_circuits(now_s),
            refused=dict(state.limiter.refused),
            alone=bool(state.limiter.buckets.trouble),
            circuits=line.health.uneasy(now_s),
            circuits_alone=bool(line.exchange.trouble),
            waiting=state.parallel.waiting(),
            shed=state.parallel.shed,
            retries_refused=state.retries.refused,
            seen=seen(line.health, line.clock),
        )


def main() -> None:
    """Serve until the supervisor says that it is enough, or is gone."""
    worker = Worker(told(), Link())
    gc.freeze()  # what is here stays: no collection needs to look at it again
    gc.set_threshold(_GARBAGE)
    uvloop.run(worker.run())


if __name__ == "__main__":
    main()
