"""What `trunkline serve` does before anything runs: check, lock, listen, make keys.

Then this process becomes the supervisor (`exec`): the same process id, but none of what was loaded
to read the configuration.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from trunkline.client import Trunkline
from trunkline.config import Config
from trunkline.config.handover import encode
from trunkline.errors import ConfigError
from trunkline.gateway.keys import admin_key, secret
from trunkline.gateway.supervisor import Plan

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_NEEDED = ("uvloop", "httptools")


class Said(Struct, frozen=True, kw_only=True):
    """What the command line says; it wins over the configuration."""

    config: str | None = None
    """The file; None = the usual places."""
    host: str | None = None
    port: int | None = None
    workers: int | None = None

    def fit(self, config: Config) -> Config:
        """Return `config` as it is to be served."""
        given = {
            name: value
            for name in ("host", "port", "workers")
            if (value := getattr(self, name)) is not None
        }
        return replace(config, server=replace(config.server, **given))


def serve(line: Trunkline, said: Said, form: Callable[[str], str]) -> NoReturn:
    """Serve until told to stop; what there is to say goes through `form`.

    Raises:
        ConfigError: the address needs a key that nobody set, or cannot be listened on; another
            gateway has the data folder; a package is missing.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the gateway needs {missing[0]}; install it with: pip install 'trunkline[server]'"
        )
    config = said.fit(line.config)
    host, data_dir = config.server.host, config.data_dir
    given = bool(os.environ.get("TRUNKLINE_ADMIN_KEY", "").strip())
    if host not in _LOOPBACK and not given:
        raise ConfigError(
            f"server.host: found {host!r}; listening on anything but loopback needs "
            "TRUNKLINE_ADMIN_KEY in the environment"
        )
    if config.storage.database_url and not os.environ.get("TRUNKLINE_SECRET", "").strip():
        raise ConfigError(
            "storage.database_url: replicas know each other's keys by TRUNKLINE_SECRET; set it to "
            "at least 32 random bytes, the same for all"
        )
    with contextlib.ExitStack() as kept:
        lock = _claim(data_dir)
        kept.callback(os.close, lock)
        server = config.server
        listeners = [
            kept.enter_context(listener)
            for listener in _listening(host, server.port, server.workers)
        ]
        url = f"http://{f'[{host}]' if ':' in host else host}:{listeners[0].getsockname()[1]}"
        plan = Plan(
            listeners=[listener.fileno() for listener in listeners],
            lock=lock,
            told={"url": url, "pid": os.getpid(), "started_s": round(time.time())},
            read={name: getattr(said, name) for name in Said.__struct_fields__},
            watched=_watched(config.source),
            lines=[form(text) for text in _greeting(url, line, given=given)],
        )
        _become(plan, config)


def _greeting(url: str, line: Trunkline, *, given: bool) -> list[str]:
    """Return what is said once all are ready; makes the keys, for who could see them if not now."""
    data_dir = line.config.data_dir
    secret(os.environ, data_dir)
    key, made = admin_key(os.environ, data_dir)
    kept = data_dir / "admin.key"
    shown = key if made else "$TRUNKLINE_ADMIN_KEY" if given else _content(kept)
    if made:
        about_key = f"admin key (shown this once, kept in {kept}): {key}"
    else:
        about_key = f"admin key: {'$TRUNKLINE_ADMIN_KEY' if given else f'the one in {kept}'}"
    return [f"listening on {url}/v1", about_key, _example(url, shown, _some_model(line))]


def _become(plan: Plan, config: Config) -> NoReturn:
    """Go on as the supervisor, with what it has to know in a file without a name."""
    with _unnamed() as file:
        file.write(json.dumps(plan._asdict()).encode() + b"\n" + encode(config))
        file.seek(0)
        for fd in (file.fileno(), plan.lock, *plan.listeners):
            os.set_inheritable(fd, True)
        sys.stdout.flush()
        sys.stderr.flush()
        module = "trunkline.gateway.supervisor"
        os.execv(sys.executable, [sys.executable, "-P", "-m", module, str(file.fileno())])


def _unnamed() -> IO[bytes]:
    """Return a file without a name; in memory where there is such a thing, for keys are in it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("trunkline"), "w+b")
    return tempfile.TemporaryFile()


def _claim(data_dir: Path) -> int:
    """Lock the data folder for one gateway; the lock goes with the process."""
    path = data_dir / "gateway.lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot use {data_dir}: {error}; make the folder writable, or set TRUNKLINE_DATA"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 20).decode("ascii", "replace").strip()
        os.close(fd)
        raise ConfigError(
            f"another gateway, process {pid or 'unknown'}, serves the data folder {data_dir}; "
            "end it, or set TRUNKLINE_DATA to another folder"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _listening(host: str, port: int, workers: int) -> list[socket.socket]:
    """Return a socket for each worker, all on one port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Alone on its port: sockets that share one do not notice those of another program.
        first = socket.create_server((host, port), family=family, backlog=2048)
        if workers == 1:
            return [first]
        address = first.getsockname()
        first.close()
        return [
            socket.create_server(address[:2], family=family, backlog=2048, reuse_port=True)
            for _ in range(workers)
        ]
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror}; "
            "write another --host or --port, or end what listens there"
        ) from error


def _watched(source: str) -> list[str]:
    path = Path(source)
    return [source, str(path.parent / ".env")] if path.is_file() else [".env"]


def _some_model(line: Trunkline) -> str:
    return line.config.default_model or next(iter(line.models()), "NAME-A-MODEL")


def _content(path: Path) -> str:
    return f"$(cat {shlex.quote(str(path))})"


def _example(url: str, key: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    return (
        f'try: curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
