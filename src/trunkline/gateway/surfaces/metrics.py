"""`GET /metrics`: what the steward counts, for Prometheus."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from trunkline.errors import Forbidden
from trunkline.gateway.http import Request
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.uplink import ask
from trunkline.observability.metrics import CONTENT_TYPE

_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-real-ip"})
_AWAY = b'{"status":"the steward is away; try again in a second"}'


async def answer(request: Request, keys: KeyRing, data_dir: Path) -> None:
    """Answer the administrator, or who calls from this machine for nobody else.

    Raises:
        Unauthorized: it is neither, and shows no key.
        Forbidden: its key is not the administrator's.
    """
    if not _is_local(request) and not keys.holder(request.headers).admin:
        raise Forbidden("metrics are for the administrator's key")
    try:
        status, body = await ask(data_dir, "/metrics")
    except OSError:
        status, body = 503, _AWAY
    if status == 200:
        request.answer(200, body, kind=CONTENT_TYPE)
    else:
        request.answer(503, _AWAY)


def _is_local(request: Request) -> bool:
    """Tell a program on this machine from a proxy on it that speaks for the world."""
    try:
        local = ipaddress.ip_address(request.peer).is_loopback
    except ValueError:
        return False
    return local and not _FORWARDED & request.headers.keys()
