"""Before anything runs: what the command line says, the lock, the sockets, the greeting."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline import Trunkline
from trunkline.config import from_mapping
from trunkline.errors import ConfigError
from trunkline.gateway.serve import Said, _claim, _greeting, _listening, _watched


def test_the_command_line_wins() -> None:
    """Over what the configuration says, where it says something."""
    config = from_mapping({"llm_service": {"server": {"host": "::1", "port": 7, "workers": 3}}}, {})
    assert Said().fit(config) == config
    server = Said(port=0, workers=2).fit(config).server
    assert (server.host, server.port, server.workers) == ("::1", 0, 2)


def test_one_gateway_for_a_data_folder(tmp_path: Path) -> None:
    """Another is told who is there; a dead one's lock does not count."""
    lock = _claim(tmp_path / "data")
    with pytest.raises(ConfigError, match=f"another gateway, process {os.getpid()}, serves"):
        _claim(tmp_path / "data")
    os.close(lock)
    os.close(_claim(tmp_path / "data"))


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The error says what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set TRUNKLINE_DATA"):
        _claim(tmp_path / "file" / "data")


@pytest.mark.parametrize("workers", [1, 3])
def test_sockets_on_one_port(workers: int) -> None:
    """One for each worker; nobody else may listen there, nor do we where somebody does."""
    listeners = _listening("127.0.0.1", 0, workers)
    try:
        ports = {listener.getsockname()[1] for listener in listeners}
        assert (len(listeners), len(ports)) == (workers, 1)
        for others in (1, 2):
            with pytest.raises(ConfigError, match="cannot listen on"):
                _listening("127.0.0.1", min(ports), others)
    finally:
        for listener in listeners:
            listener.close()


def test_what_is_watched(tmp_path: Path) -> None:
    """The configuration and the `.env` beside it; without a file, the `.env` of the folder."""
    path = tmp_path / "a.yaml"
    path.write_text("")
    assert _watched(str(path)) == [str(path), str(tmp_path / ".env")]
    assert _watched("environment") == [".env"]


def test_a_missing_package() -> None:
    """The error names it and says how to install it."""
    program = (
        "import sys; sys.modules['uvloop'] = None; sys.argv[1:] = ['serve', '--port', '0'];"
        "from trunkline.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the gateway needs uvloop; install it with: pip install 'trunkline[server]'" in (
        done.stderr
    )


def test_the_greeting_shows_a_new_key_once() -> None:
    """Afterwards it says where the key is."""
    line = Trunkline.from_config({})
    first = _greeting("http://h:1", line, given=False)
    second = _greeting("http://h:1", line, given=False)
    key = first[1].rpartition(" ")[2]
    assert first[0] == "listening on http://h:1/v1"
    assert key in first[2]
    assert key not in "".join(second)
    assert "admin.key" in second[1]


def test_a_listener_of_ipv6() -> None:
    """An address with colons is one of IPv6."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    for listener in _listening("::1", 0, 2):
        assert listener.family == socket.AF_INET6
        listener.close()
