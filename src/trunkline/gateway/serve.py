"""Listen: one process with uvicorn, uvloop and httptools."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from trunkline.client import Trunkline
from trunkline.errors import ConfigError
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing, admin_key, secret

_DRAIN_S = 30
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def serve(line: Trunkline, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until told to stop; open calls are let finish for up to half a minute.

    Raises:
        ConfigError: the address needs a key that nobody set, or cannot be listened on.
    """
    import uvicorn

    from trunkline.gateway.protocol import Connection

    given = bool(os.environ.get("TRUNKLINE_ADMIN_KEY", "").strip())
    if host not in _LOOPBACK and not given:
        raise ConfigError(
            f"server.host: found {host!r}; listening on anything but loopback needs "
            "TRUNKLINE_ADMIN_KEY in the environment"
        )
    data_dir = line.config.data_dir
    with _listening(host, port) as listener:  # before a key is made that is shown only once
        pepper = secret(os.environ, data_dir)
        key, made = admin_key(os.environ, data_dir)
        config = uvicorn.Config(
            Gateway(line, KeyRing(pepper, key, line.config.keys), host),
            http=Connection,
            ws="none",
            loop="uvloop",
            workers=1,
            lifespan="on",
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        server = uvicorn.Server(config)
        # Told to stop before it serves, it must not die; and uvicorn, once drained, repeats the
        # signal to whoever had it before, though an end that was asked for is a good one.
        signal.signal(signal.SIGTERM, server.handle_exit)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        tell(f"listening on {url}/v1")
        kept = data_dir / "admin.key"
        if made:
            tell(f"admin key (shown this once, kept in {kept}): {key}")
        else:
            tell(f"admin key: {'$TRUNKLINE_ADMIN_KEY' if given else f'the one in {kept}'}")
        shown = key if made else "$TRUNKLINE_ADMIN_KEY" if given else _content(kept)
        tell(_example(url, shown, _some_model(line)))
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror}; "
            "write another --host or --port, or end what listens there"
        ) from error


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
