"""A process that the supervisor keeps alive: a worker or the steward."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from trunkline.gateway.link import message

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_GOOD_LIFE_S = 10.0
_SEND_S = 30.0
_MEMORY = {
    # A large body comes and goes with each request: mapped anew each time, its page faults cost
    # more than the request.
    # Source: https://man7.org/linux/man-pages/man3/mallopt.3.html (2026-11-20)
    "MALLOC_ARENA_MAX": "1",  # one thread does nearly all; each further arena is a megabyte
    "MALLOC_MMAP_THRESHOLD_": str(4 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 1024 * 1024),
    "MALLOC_TOP_PAD_": str(1024 * 1024),
    "PYTHONNODEBUGRANGES": "1",  # where in a line an error was; half a megabyte
}


def python(module: str, told: dict[str, Any]) -> list[str]:
    """Return the command that runs a module of the gateway; `told` is its argument, as JSON."""
    # -P: what lies in the working folder is not taken for a module.
    return [sys.executable, "-P", "-m", f"trunkline.gateway.{module}", json.dumps(told)]


class Child:
    """One place to be filled; whoever fills it may die and is followed by another."""

    def __init__(self, name: str, told: dict[str, Any], listener: socket.socket | None) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.link: socket.socket | None = None
        self.ready = False
        self.ever_ready = False
        self.due_s = 0.0
        """When to start it, in seconds of the monotonic clock."""
        self._told = told
        self._listener = listener
        self._starts = 0
        self._started_s = 0.0
        self._pause_s = 0.0

    def start(self, config: bytes) -> None:
        """Start a process and hand it the configuration.

        Raises:
            OSError: there is no process to be had.
        """
        told = {**self._told, "restarts": self._starts}
        given = []
        if self._listener is not None:
            given.append(self._listener.fileno())
            told["listener"] = given[0]
        self._starts += 1
        self._started_s = time.monotonic()
        self.ready = False
        ours, theirs = socket.socketpair()
        ours.settimeout(_SEND_S)
        self.link = ours
        with theirs:
            self.process = subprocess.Popen(
                python(self.name, told),
                stdin=theirs.fileno(),
                pass_fds=given,
                process_group=0,  # Ctrl-C is for the supervisor, which tells the others in order
                env={**_MEMORY, **os.environ} if given else None,
            )
        self.send(config)

    def send(self, config: bytes) -> None:
        """Hand on a configuration; who does not take it is ended, and the next one will."""
        if self.link is None:
            return
        try:
            self.link.sendall(message(config))
        except TimeoutError:
            self.kill()
        except OSError:  # it has just died
            return

    def hear(self) -> None:
        """Take what the process says: that it is ready, or, by dying, nothing."""
        assert self.link is not None
        try:
            said = self.link.recv(1)
        except OSError:
            said = b""
        if said:
            self.ready = self.ever_ready = True
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Ask the process to end in good order."""
        if self.link is not None:
            self.link.close()
            self.link = None

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()

    def died(self) -> str | None:
        """Return how the process ended, if it did since the last look."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        told = f"{self.name} (process {self.process.pid}) ended {_how(code)}"
        self.process = None
        self.ready = False
        self.hang_up()
        now_s = time.monotonic()
        if now_s - self._started_s > _GOOD_LIFE_S:
            self._pause_s = 0.0
        self.wait(now_s)
        return told

    def wait(self, now_s: float) -> None:
        """Be due at once the first time, then after pauses that grow."""
        self.due_s = now_s + self._pause_s
        self._pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"
