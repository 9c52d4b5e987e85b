"""Every outgoing connection that is not a call to a model. So far: is anybody there?"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

_TIMEOUT_S = 1.0
_PORTS = {"http": 80, "https": 443}


def reachable(urls: Mapping[str, str]) -> dict[str, bool]:
    """Tell for each name whether a TCP connection to its URL opens within a second.

    Nothing is sent. An empty URL stands for something inside this process and is reachable; where
    a proxy stands between, the proxy is what is asked.
    """
    if not urls:
        return {}
    # Imported here: it brings a whole HTTP client, and most programs never ask this.
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()

    def answers(url: str) -> bool:
        parts = urlsplit(url)
        proxy = proxies.get(parts.scheme)
        return _answers(proxy if proxy and not proxy_bypass(parts.hostname or "") else url)

    with ThreadPoolExecutor(max_workers=min(16, len(urls)), thread_name_prefix="probe") as pool:
        return dict(zip(urls, pool.map(answers, urls.values()), strict=True))


def _answers(url: str) -> bool:
    if not url:
        return True
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False
