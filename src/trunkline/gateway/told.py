"""What a child of the supervisor is told as it starts, and what it does before anything else."""

from __future__ import annotations

import logging
import signal
import sys

import msgspec
from msgspec import Struct

_LOUD = ("LLM circuit opened", "LLM deployment disabled")


class Told(Struct, frozen=True, kw_only=True):
    """The argument of a child."""

    url: str
    """Where the gateway listens, without a path."""
    pid: int
    """The supervisor's."""
    started_s: int
    """When the gateway was started, in seconds since the epoch."""
    restarts: int
    """How often this place was filled anew."""
    listener: int = -1
    """File descriptor of the socket to accept from, for a worker."""


def told() -> Told:
    """Return what this child was told; from here on signals do not end it by themselves.

    What goes wrong in it is said on standard error; how calls end is not.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logger = logging.getLogger("trunkline")  # its own records are events
    plain = logging.StreamHandler()
    plain.addFilter(lambda record: record.name != logger.name)
    plain.setFormatter(logging.Formatter("trunkline: %(message)s"))
    logger.addHandler(plain)
    loud = logging.StreamHandler()
    loud.addFilter(lambda record: record.msg in _LOUD)
    loud.setFormatter(logging.Formatter("trunkline: %(message)s: %(deployment)s, %(error_code)s"))
    logger.addHandler(loud)
    return msgspec.json.decode(sys.argv[1], type=Told)
