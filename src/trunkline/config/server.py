"""The gateway's own settings: where it listens, and how many workers it has."""

from __future__ import annotations

from typing import Any

from trunkline.config.model import Server
from trunkline.config.node import Node

_SERVER_KEYS = ("host", "port", "hosts", "max_body_mb", "stored_state", "workers")
_MOST_WORKERS = 256


def read_server(node: Node | None) -> Server:
    """Take `server:`; what it does not say is as usual."""
    fields = node.mapping(_SERVER_KEYS) if node else {}
    said: dict[str, Any] = {}
    if "host" in fields:
        said["host"] = fields["host"].text()
    if "port" in fields:
        said["port"] = fields["port"].whole(0)
        if said["port"] > 65535:
            raise fields["port"].fault("write a port from 0 to 65535")
    if "hosts" in fields:
        said["hosts"] = fields["hosts"].texts()
    if "max_body_mb" in fields:
        said["max_body_mb"] = fields["max_body_mb"].whole(1)
    if "stored_state" in fields:
        said["stored_state"] = fields["stored_state"].choice(("refuse", "allow"))
    if "workers" in fields:
        said["workers"] = fields["workers"].whole(1)
        if said["workers"] > _MOST_WORKERS:
            raise fields["workers"].fault(f"write a number from 1 to {_MOST_WORKERS}")
    return Server(**said)
