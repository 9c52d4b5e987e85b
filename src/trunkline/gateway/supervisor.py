"""The process that keeps the others: it holds the listening sockets and restarts who dies.

It loads nothing but the standard library, and handles configurations as bytes: reading one is the
work of a process of its own (`reread`), so a file that cannot be read changes nothing here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any, NamedTuple

from trunkline.gateway.children import Child, python

_TICK_S = 1.0
_REREAD_S = 10.0
_WORKERS_END_S = 45.0
"""More than their half minute for open calls, and the writing of the last rows."""
_STEWARD_ENDS_S = 15.0
_INTERRUPTED = 130


class Plan(NamedTuple):
    """What to keep; made by `serve`."""

    listeners: list[int]
    """File descriptors, one for each worker."""
    lock: int
    """File descriptor of the lock on the data folder."""
    told: dict[str, Any]
    """What every child is told."""
    read: dict[str, Any]
    """What `reread` is told."""
    watched: list[str]
    """Files whose change is a change of the configuration."""
    lines: list[str]
    """What to say once all are ready."""


class Supervisor:
    """Runs the children until told to stop."""

    def __init__(self, plan: Plan, config: bytes) -> None:
        self._plan = plan
        self._config = config
        self._listeners = [socket.socket(fileno=fd) for fd in plan.listeners]
        self._workers = [Child("worker", plan.told, each) for each in self._listeners]
        self._steward = Child("steward", plan.told, None)
        self._children = [*self._workers, self._steward]
        self._said = False
        self._code: int | None = None
        """The exit code, once it is time to go."""
        self._patience_s = 0.0
        """Until when (monotonic) those are waited for who were asked to end."""
        self._seen = self._looked = _signatures(plan.watched)
        self._next_look_s = 0.0
        for fd in (plan.lock, *plan.listeners):
            os.set_inheritable(fd, False)
        self._wake, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)

    def run(self) -> int:
        """Serve; return the exit code."""
        with self._wake, self._wakes:
            signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, lambda *_: None)  # it comes through the wakeup descriptor
            code = self._keep()
            signal.set_wakeup_fd(-1)
        return code

    def _keep(self) -> int:
        while True:
            self._bury()
            if self._code is None:
                self._start_due()
                self._look()
            elif self._ended():
                return self._code
            self._wait()

    def _wait(self) -> None:
        """Wait for a signal, for a child to be ready, or for the next thing to do."""
        unready = {c.link: c for c in self._children if c.link is not None and not c.ready}
        due_s = min(c.due_s if c.process is None else float("inf") for c in self._children)
        wait_s = _TICK_S
        if self._code is None:
            wait_s = min(_TICK_S, max(0.0, due_s - time.monotonic()))
        found, _, _ = select.select([self._wake, *unready], [], [], wait_s)
        for link in found:
            if link is not self._wake:
                unready[link].hear()
        if self._wake in found:
            for number in self._wake.recv(4096):
                self._heed(number)
        if not self._said and all(child.ready for child in self._children):
            self._said = True
            _write(1, "".join(f"{line}\n" for line in self._plan.lines))

    def _heed(self, number: int) -> None:
        if number == signal.SIGHUP and self._code is None and not _terminal_is_gone():
            self._reread()
        elif number in {signal.SIGTERM, signal.SIGHUP} and self._code is None:
            self._stop(0)
        elif number == signal.SIGINT:
            if self._code is not None:
                for child in self._children:
                    child.kill()
            self._stop(_INTERRUPTED)

    def _stop(self, code: int) -> None:
        """Take no new callers and let the workers finish; the steward goes last."""
        if self._code is None:
            self._patience_s = time.monotonic() + _WORKERS_END_S
        self._code = code
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            worker.hang_up()

    def _ended(self) -> bool:
        late = time.monotonic() > self._patience_s
        going = [worker for worker in self._workers if worker.process is not None]
        if not going and self._steward.process is not None:
            if self._steward.link is not None:
                self._steward.hang_up()
                self._patience_s = time.monotonic() + _STEWARD_ENDS_S
                late = False
            going = [self._steward]
        for child in going if late else ():
            _say(f"{child.name} does not end and is killed")
            child.kill()
        return not going

    def _bury(self) -> None:
        for child in self._children:
            how = child.died()
            if how is None or self._code is not None:
                continue
            if self._said or child.ever_ready:
                _say(f"{how}; another one is started")
            else:  # it has said why, and so would the next one
                _say(f"{how} before it was ready")
                self._stop(1)

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for child in self._children:
            if child.process is None and now_s >= child.due_s:
                try:
                    child.start(self._config)
                except OSError as error:
                    child.hang_up()
                    child.wait(now_s)
                    _say(f"{child.name} cannot be started: {error}")

    def _look(self) -> None:
        """Look each second whether a file changed; take it once it has stayed so for a second."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _TICK_S
        now = _signatures(self._plan.watched)
        if now == self._looked != self._seen:
            self._reread()
        self._looked = now

    def _reread(self) -> None:
        """Read the configuration anew; hand it on if it is good and another one."""
        self._seen = self._looked = _signatures(self._plan.watched)
        try:
            done = subprocess.run(
                python("reread", self._plan.read),
                input=self._config,
                stdout=subprocess.PIPE,
                timeout=_REREAD_S,
                check=False,
                process_group=0,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            _say(f"the configuration cannot be read: {error}")
            return
        if done.returncode == 0 and done.stdout:
            self._config = done.stdout
            for child in self._children:
                child.send(self._config)


def _signatures(paths: list[str]) -> list[tuple[int, int, int] | None]:
    return [_signature(path) for path in paths]


def _signature(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _terminal_is_gone() -> bool:
    """Tell the SIGHUP of a terminal that was closed from one that somebody sent."""
    try:
        os.tcgetpgrp(0)
    except OSError as error:
        return error.errno == errno.EIO
    return False


def _say(text: str) -> None:
    _write(2, f"trunkline: {text}\n")


def _write(fd: int, text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more; calls go on
        os.write(fd, text.encode(errors="surrogateescape"))


def main() -> None:
    """Keep what `serve` left in the file that the argument names by its descriptor."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        plan = Plan(**json.loads(file.readline()))
        config = file.read()
    sys.exit(Supervisor(plan, config).run())


if __name__ == "__main__":
    main()
