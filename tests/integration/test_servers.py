"""The servers that tests use: that they start, keep what they should, and leave nothing behind."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from tests import servers

_RUN_BOTH = """
import sys
from pathlib import Path
from tests import servers
folder = Path(sys.argv[1])
with servers.postgres(folder / "postgres"), servers.valkey(folder / "valkey"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def _processes(folder: Path) -> list[str]:
    """Return the command lines that name `folder`."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = command.read_text()
        except OSError:  # it just ended
            continue
        if str(folder) in line:
            found.append(line)
    return found


def _eventually(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < until_s, "it never became true"
        time.sleep(0.01)


def _values(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM kept")]


def _keep(url: str, value: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT %s::int AS n", (value,))


def test_postgresql_is_stopped_and_has_its_data_when_started_again(
    postgres: servers.Postgres, database_url: str
) -> None:
    """While PostgreSQL is stopped its clients are cut and refused; afterwards all is there."""
    _keep(database_url, 7)
    with psycopg.connect(database_url) as connected:
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            connected.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(database_url)
    postgres.start()
    assert _values(database_url) == [7]


def test_each_database_is_new_and_gone_afterwards(postgres: servers.Postgres) -> None:
    """A database starts empty whatever is in its neighbour, and is dropped even while used."""
    with postgres.database() as one, postgres.database() as other:
        _keep(one, 1)
        with pytest.raises(psycopg.errors.UndefinedTable):
            _values(other)
        left_open = psycopg.connect(one)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one)
    left_open.close()


def test_a_wrong_password_is_refused(postgres: servers.Postgres) -> None:
    """PostgreSQL looks at passwords, so tests can have a wrong one."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url, password="wrong")


def test_valkey_is_stopped_and_has_its_data_until_flushed(valkey: servers.Valkey) -> None:
    """While Valkey is stopped it refuses; afterwards its data is there; a flush removes it."""
    with redis.Redis.from_url(valkey.url, retry=None) as client:
        client.set("kept", 7)
        valkey.stop()
        with pytest.raises(redis.ConnectionError):
            client.get("kept")
        valkey.start()
        assert client.get("kept") == b"7"
        valkey.flush()
        assert client.get("kept") is None


def test_a_stopped_server_keeps_its_port(valkey: servers.Valkey) -> None:
    """Nobody is given the port of a server that is stopped."""
    valkey.stop()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", valkey.port))


def test_servers_run_side_by_side_and_leave_nothing(
    postgres: servers.Postgres, valkey: servers.Valkey, tmp_path: Path
) -> None:
    """A second server of each kind has a port and data of its own; its end leaves no trace."""
    folders = [tmp_path / "postgres", tmp_path / "valkey"]
    with servers.postgres(folders[0]) as other, servers.valkey(folders[1]) as another:
        ports = {server.port for server in (postgres, valkey, other, another)}
        assert len(ports) == 4
        with psycopg.connect(other.url), psycopg.connect(postgres.url):
            assert len(_processes(tmp_path)) >= 2
    _eventually(lambda: not _processes(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_servers_end_with_whoever_started_them(tmp_path: Path) -> None:
    """When the tests are killed, their servers end."""
    with subprocess.Popen(
        [sys.executable, "-c", _RUN_BOTH, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == "ready\n"
        tests.send_signal(signal.SIGKILL)
    _eventually(lambda: not _processes(tmp_path))


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """What the server said is in the error, and no process is left."""
    with servers.valkey(tmp_path / "valkey") as server:
        server.stop()
        (tmp_path / "valkey" / "dump.rdb").write_text("no such format")
        with pytest.raises(RuntimeError, match="Wrong signature"):
            server.start()
    _eventually(lambda: not _processes(tmp_path))
