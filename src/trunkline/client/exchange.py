"""Tell other processes which deployments rest, and hear it from them: once a second, off the path.

The rules: what a provider asked for (`limited`) is true for all who have its account. A rest is
believed by who does not know better: a process that had an answer in the last seconds goes on. That
somebody cannot connect says something of his host, so only others of that host believe it. What was
written before this process began is old, for whoever starts anew may have mended it. Without the
store each process knows what it finds out itself.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket

from trunkline.clock import Clock
from trunkline.errors import RecordError
from trunkline.routing.health import Health, Vital
from trunkline.storage.circuits import CircuitRow, CircuitTable

_LOCAL = frozenset({"connect_failed", "connect_timeout", "connection_lost"})
_KNOWS_BETTER_S = 5.0
_RESTING = ("resting", "disabled")
_TOLD = (*_RESTING, "limited", "ramping")
_log = logging.getLogger("trunkline.storage")


class Exchange:
    """One process's part in it."""

    def __init__(self, health: Health, table: CircuitTable, clock: Clock) -> None:
        self._health, self._table, self._clock = health, table, clock
        self._host = socket.gethostname()
        self._since_ns = clock.now_ns()
        self._owner, self._pid = "", 0
        self._seen: dict[str, tuple[int, str]] = {}
        """The era and the state of each circuit that were told or heard of."""
        self._heard: dict[str, int] = {}
        """When the row was written that was heard last."""
        self.trouble = ""
        """Why the others hear nothing; "" = they do."""

    def run(self) -> None:
        """Tell what is new here, then hear what is new elsewhere."""
        try:
            news = self._news()
            if news:
                self._table.write([row for _, row in news], self._clock.now_ns())
                self._seen |= {row.deployment: (era, row.state) for era, row in news}
            rows = self._table.read(self._clock.now_ns())
            for row in rows:
                self._hear(row)
            self._heard = {row.deployment: row.at_ns for row in rows}
        except RecordError as error:
            if not self.trouble:
                _log.warning("circuits are not shared: %s", error)
            self.trouble = "circuits are not shared: the store is away"
            return
        self.trouble = ""

    def close(self) -> None:
        """Let go of the store."""
        self._table.close()

    def _news(self) -> list[tuple[int, CircuitRow]]:
        """Return what this process found out since the last time, with the era of each circuit."""
        if self._pid != os.getpid():  # a forked child is somebody else
            self._owner, self._pid = secrets.token_hex(8), os.getpid()
        now_s, now_ns = self._clock.monotonic_s(), self._clock.now_ns()
        uneasy = [
            (n, v.circuit) for n, v in tuple(self._health.vitals.items()) if not v.circuit.calm
        ]
        self._seen = {name: self._seen[name] for name, _ in uneasy if name in self._seen}
        news = []
        for name, circuit in uneasy:
            era, state = circuit.era, circuit.state(now_s)
            seen_era, seen_state = self._seen.get(name, (-1, ""))
            if era == seen_era or (state == "ramping" and seen_state not in _RESTING):
                continue
            if state in _TOLD:
                until_ns = now_ns + int(circuit.rest_s(now_s) * 1e9)
                row = (name, state, until_ns, circuit.cause, now_ns, self._host, self._owner)
                news.append((era, CircuitRow(*row)))
        return news

    def _hear(self, row: CircuitRow) -> None:
        if row.owner == self._owner or self._heard.get(row.deployment) == row.at_ns:
            return
        vital = self._health.of(row.deployment)
        if self._believes(row, vital):
            now_s = self._clock.monotonic_s()
            until_s = now_s + (row.until_ns - self._clock.now_ns()) / 1e9
            vital.circuit.adopt(row.state, until_s, row.cause, now_s)
            self._seen[row.deployment] = vital.circuit.era, row.state

    def _believes(self, row: CircuitRow, vital: Vital) -> bool:
        if row.state == "limited":
            return True
        if row.at_ns < self._since_ns or (row.cause in _LOCAL and row.host != self._host):
            return False
        age_s = self._clock.monotonic_s() - vital.pace.heard_s
        return row.state == "ramping" or not vital.circuit.fresh or age_s > _KNOWS_BETTER_S
