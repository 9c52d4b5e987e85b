"""Where records are kept: a file in the data folder, or a database that replicas share."""

from __future__ import annotations

from urllib.parse import urlsplit

from trunkline.config.model import Storage
from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Secret

_KEYS = ("database_url", "keep_days")
_LATER_KEYS = ("redis_url",)
_DATABASE = "TRUNKLINE_DATABASE_URL"

_POSTGRES = (
    "write postgresql://user:password@host:5432/database, or remove it to keep records in the data "
    "folder"
)


def read(node: Node | None, root: Node) -> Storage:
    """Take `storage:`; what it does not say, the environment may."""
    fields = node.mapping(_KEYS, _LATER_KEYS) if node else {}
    database = fields.get("database_url") or _from_environment(root, _DATABASE)
    return Storage(
        database_url=_url(database) if database else None,
        keep_days=fields["keep_days"].whole(1) if "keep_days" in fields else None,
    )


def _from_environment(root: Node, name: str) -> Node | None:
    url = root.environment.get(name)
    return Node(url, name, root.source, root.environment) if url else None


def _url(node: Node) -> Secret:
    url = node.text()
    try:
        parts = urlsplit(url)
        password, _ = parts.password, parts.port
    except ValueError:
        parts, password = urlsplit(""), None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise node.fault(_POSTGRES)
    know([url, *([password] if password else [])])
    return Secret(url)
