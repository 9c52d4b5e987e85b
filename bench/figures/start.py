"""What a start costs: the import, and `trunkline serve` on a new folder to its first answer."""

from __future__ import annotations

import socket
import time

from bench import import_time
from bench.figures.cpu import ROUNDS
from bench.rig import messages, subjects
from bench.rig.processes import Hop
from bench.rig.table import Figure


def figures(upstream: Hop) -> list[Figure]:
    imports = [import_time.once()[0] for _ in range(ROUNDS)]
    starts = [first_answer_s(upstream.port) for _ in range(ROUNDS)]
    return [
        Figure("`import trunkline`", "ms", 100, imports, kind="plain"),
        Figure("cold start to the first answer", "s", 1, starts, kind="plain"),
    ]


def first_answer_s(upstream: int) -> float:
    """Start the gateway, on all cores as it would be, and ask it at once."""
    start_s = time.monotonic()
    with (
        subjects.trunkline(upstream, core=None) as hop,
        socket.create_connection(("127.0.0.1", hop.port), timeout=30) as caller,
    ):
        caller.sendall(messages.chat(hop.port))
        if not caller.recv(4096).startswith(b"HTTP/1.1 200"):
            raise SystemExit("bench: the first answer was none")
        return time.monotonic() - start_s
