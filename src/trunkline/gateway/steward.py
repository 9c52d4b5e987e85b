"""The process beside the workers: it ingests the journal and answers about the gateway.

Its socket is for this user only: `GET /status`, `GET /metrics` and `POST /ingest` for whoever asks,
`POST /worker` for the workers, whose connections say by their end that they are gone, and
administration (`/v1/...`) for those who ask on somebody's behalf.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from trunkline.clock import SystemClock
from trunkline.config import Config
from trunkline.config.handover import decode
from trunkline.egress import reachable
from trunkline.errors import RecordError
from trunkline.gateway import health, signs
from trunkline.gateway.hooks import Telling
from trunkline.gateway.link import Link
from trunkline.gateway.prober import Prober
from trunkline.gateway.pruning import Pruner
from trunkline.gateway.seen import Seen, together
from trunkline.gateway.told import Told, told
from trunkline.gateway.uplink import Question, Report, take
from trunkline.journal import IngestReport, ingest
from trunkline.journal.bell import socket_path
from trunkline.observability.metrics import CONTENT_TYPE, Gauge, Metrics
from trunkline.storage.engines import open_database
from trunkline.storage.outbox import Outbox
from trunkline.storage.store import Store
from trunkline.types import Record

if TYPE_CHECKING:
    from trunkline.gateway.admin.rest import Rest

_INGEST_S = 1.0
_LAST_TRIES, _BUSY_S = 100, 0.05
_WORKERS_END_S = 45.0
_JSON = "application/json"
logger = logging.getLogger("trunkline.gateway")


class Steward:
    """What the process does."""

    def __init__(self, told: Told, config: Config) -> None:
        self._told = told
        self._config = config
        self._metrics = Metrics()
        self._loop = asyncio.get_running_loop()
        self._store = Store(open_database(config), self._observe)
        self._pruner = Pruner(self._store, SystemClock())
        self._telling = Telling(Outbox(self._store.database, config.data_dir))
        self._workers: dict[asyncio.StreamWriter, Report] = {}
        self._ever: dict[int, Report] = {}
        """What each worker said last, but for what it saw; those that are gone included."""
        self._prober = Prober(SystemClock())
        self._ingested_s = time.monotonic()
        self._trouble = ""
        self._rest: Rest | None = None
        self._ingesting = asyncio.Lock()
        self._ending = asyncio.Event()
        self._alone = asyncio.Event()
        self._alone.set()

    async def run(self, link: Link) -> None:
        """Work until the supervisor has ended the link and every worker is gone."""
        loop = asyncio.get_running_loop()
        path = socket_path(self._config.data_dir, make=True)
        server = await asyncio.start_unix_server(self._answer, sock=_bound(path))
        inode = path.stat().st_ino

        def hear() -> None:
            for data in link.hear():
                self._config, self._rest = decode(data), None
            if link.ended:
                loop.remove_reader(link.fd)
                # At once: the workers of the next gateway must not take this one for theirs.
                server.close()
                _remove(path, inode)
                self._ending.set()

        loop.add_reader(link.fd, hear)
        link.tell_ready()
        probing = loop.create_task(self._prober.run(lambda: self._config, self._news))
        while not self._ending.is_set():
            more = await self._ingest() and await self._prune()
            await _within(_BUSY_S if more else _INGEST_S, self._ending)
        probing.cancel()
        await _within(_WORKERS_END_S, self._alone)
        for _ in range(_LAST_TRIES):
            if await self._ingest():
                break
            await asyncio.sleep(_BUSY_S)
        self._telling.stop()
        self._store.close()

    async def _ingest(self) -> bool:
        """Bring the store up to date; False if that could not be done."""
        async with self._ingesting:
            began_s = time.monotonic()
            try:
                report = await asyncio.to_thread(self._bring)
            except Exception as error:
                if str(error) != self._trouble:  # said once, not each second
                    logger.error("rows wait in the journal, nothing is lost: %s", error)
                self._trouble = str(error)
                return False
            self._trouble = ""
            if not report.busy:
                self._ingested_s = began_s
            return not report.busy

    async def _prune(self) -> bool:
        """Delete some of what is kept no longer; True = there is more of it."""
        try:
            return await asyncio.to_thread(self._pruner.work, self._config.storage.keep_days)
        except RecordError as error:
            logger.error("old calls stay for the time being: %s", error)
            return False

    def _bring(self) -> IngestReport:
        self._telling.prepare(self._config)
        report = ingest(self._config.data_dir, self._store)
        self._telling.wake()
        return report

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                question = await take(reader)
                status, kind, said = await self._respond(question, writer)
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n"
                    f"content-length: {len(said)}\r\n\r\n".encode()
                    + said
                )
                await writer.drain()
        except (EOFError, OSError, ValueError, asyncio.LimitOverrunError):
            pass  # it left, or does not speak HTTP
        except asyncio.CancelledError:
            pass  # the process ends; asyncio's streams would make an error of it
        finally:
            self._workers.pop(writer, None)
            if not self._workers:
                self._alone.set()
            writer.close()

    async def _respond(
        self, question: Question, writer: asyncio.StreamWriter
    ) -> tuple[str, str, bytes]:
        asked = f"{question.method} {question.path}"
        if asked == "POST /worker":
            report = self._workers[writer] = msgspec.json.decode(question.body, type=Report)
            self._ever[report.pid] = replace(report, seen={})
            self._alone.clear()
            return "200 OK", _JSON, b"{}"
        if asked == "POST /ingest":
            done = await self._ingest()
            return "200 OK" if done else "503 Service Unavailable", _JSON, b"{}"
        if asked == "GET /status":
            return "200 OK", _JSON, msgspec.json.encode(await self._status())
        if asked == "GET /metrics":
            return "200 OK", CONTENT_TYPE, self._metrics.render(self._gauges()).encode()
        if asked in {"GET /providers", "GET /deployments"}:
            return "200 OK", _JSON, msgspec.json.encode(self._healths(question.path))
        if question.path.startswith("/v1/"):
            status, said = await self._administration().answer(question)
            return f"{status} {HTTPStatus(status).phrase}", _JSON, said
        return "404 Not Found", _JSON, b'{"error":"not found"}'

    def _news(self) -> dict[str, Seen]:
        return together(worker.seen for worker in self._workers.values())

    def _healths(self, path: str) -> list[dict[str, Any]]:
        news = self._news()
        if path == "/deployments":
            return health.deployments(self._config, news)
        return health.providers(self._config, news, self._prober.probes, time.time_ns())

    def _administration(self) -> Rest:
        if self._rest is None:
            from trunkline.gateway.admin.rest import Rest  # only where somebody administers

            self._rest = Rest(self._config, self._store, self._ingest)
        return self._rest

    def _observe(self, records: Sequence[Record]) -> None:
        # The metrics belong to the loop's thread; this one is another.
        self._loop.call_soon_threadsafe(self._metrics.observe, records)

    def _gauges(self) -> list[Gauge]:
        workers = self._workers.values()
        open_requests = sum(worker.open_requests for worker in workers)
        return [
            Gauge("workers", "Processes that answer calls.", len(workers)),
            Gauge("open_requests", "Requests that are being answered.", open_requests),
            Gauge("ingest_lag_seconds", "Age of the rows that can be asked for.", self._lag_s()),
            *signs.limits(workers, self._ever.values()),
            *signs.gauges(workers, self._ever.values()),
            *self._telling.gauges(),
            *self._pruner.gauges(),
        ]

    def _lag_s(self) -> float:
        return round(time.monotonic() - self._ingested_s, 1)

    async def _status(self) -> dict[str, Any]:
        providers = self._config.providers
        urls = {name: each.template.base_url for name, each in providers.items()}
        reached = await asyncio.to_thread(reachable, urls)
        own = {name: told.ok for name, told in self._prober.probes.items() if urls.get(name) == ""}
        workers = [replace(worker, seen={}) for worker in self._workers.values()]
        resting = sorted({name for worker in workers for name in worker.resting})
        return {
            "url": self._told.url,
            "pid": self._told.pid,
            "started": self._told.started_s,
            "workers": sorted(workers, key=lambda worker: worker.pid),
            "default_provider": self._config.default_provider,
            "providers": {
                name: {
                    "reachable": up,
                    "resting": [each for each in resting if each.startswith(f"{name}/")],
                }
                for name, up in (reached | own).items()
            },
            "ingest_lag_s": self._lag_s(),
        }


def _remove(path: Path, inode: int) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()


async def _within(most_s: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), most_s)


def _bound(path: Path) -> socket.socket:
    """Return a socket at `path`, for this user only; one that a dead steward left goes."""
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        found.bind(str(path))
    finally:
        os.umask(before)
    return found


def main() -> None:
    """Work until the supervisor says that it is enough, or is gone."""
    start = told()
    link = Link()
    try:
        asyncio.run(_run(start, link))
    except OSError as error:
        sys.exit(f"trunkline: the steward cannot work: {error}")


async def _run(start: Told, link: Link) -> None:
    await Steward(start, decode(link.first())).run(link)


if __name__ == "__main__":
    main()
