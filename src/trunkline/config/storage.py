"""Where records are kept: a file in the data folder, or a database that replicas share."""

from __future__ import annotations

from urllib.parse import urlsplit

from trunkline.config.model import Storage
from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Secret

_KEYS = ("database_url", "keep_days")
_LATER_KEYS = ("redis_url",)
_VARIABLE = "TRUNKLINE_DATABASE_URL"


def read(node: Node | None, root: Node) -> Storage:
    """Take `storage:`; what it does not say, the environment may."""
    fields = node.mapping(_KEYS, _LATER_KEYS) if node else {}
    found = fields.get("database_url")
    if found is None and (url := root.environment.get(_VARIABLE)):
        found = Node(url, _VARIABLE, root.source, root.environment)
    return Storage(
        database_url=None if found is None else _url(found),
        keep_days=fields["keep_days"].whole(1) if "keep_days" in fields else None,
    )


def _url(node: Node) -> Secret:
    url = node.text()
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        parts, password = urlsplit(""), None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise node.fault(
            "write postgresql://user:password@host:5432/database, or remove it to keep records in "
            "the data folder"
        )
    know([url, *([password] if password else [])])
    return Secret(url)
