"""Listen: one process with uvicorn, uvloop and httptools."""

from __future__ import annotations

import os
from collections.abc import Callable

from trunkline.client import Trunkline
from trunkline.errors import ConfigError
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing, admin_key, secret

_DRAIN_S = 30
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_HEADER_BYTES = 64 * 1024


def serve(line: Trunkline, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until told to stop; open calls are let finish for up to half a minute.

    Raises:
        ConfigError: the address needs a key that nobody set, or cannot be listened on.
    """
    import uvicorn

    if host not in _LOOPBACK and not os.environ.get("TRUNKLINE_ADMIN_KEY"):
        raise ConfigError(
            f"server.host: found {host!r}; listening on anything but loopback needs "
            "TRUNKLINE_ADMIN_KEY in the environment"
        )
    data_dir = line.config.data_dir
    key, made = admin_key(os.environ, data_dir)
    ring = KeyRing(secret(os.environ, data_dir), key, line.config.keys)
    config = uvicorn.Config(
        Gateway(line, ring),
        host=host,
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_DRAIN_S,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    socket = config.bind_socket()
    socket.listen(2048)  # before we say so: who comes at once waits instead of being refused
    bound = socket.getsockname()[1]
    for text in _greeting(host, bound, key if made else None, data_dir / "admin.key"):
        tell(text)
    uvicorn.Server(config).run(sockets=[socket])


def _greeting(host: str, port: int, new_key: str | None, key_file: object) -> list[str]:
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    shown = new_key or "$TRUNKLINE_ADMIN_KEY"
    lines = [f"listening on {url}/v1"]
    if new_key:
        lines.append(f"admin key (shown this once, kept in {key_file}): {new_key}")
    else:
        lines.append(f"admin key: $TRUNKLINE_ADMIN_KEY, or the one in {key_file}")
    body = '{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}'
    lines.append(
        f"try: curl {url}/v1/chat/completions -H 'Authorization: Bearer {shown}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
    return lines
