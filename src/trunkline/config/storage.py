"""Where records are kept: a file in the data folder, or a database that replicas share."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from trunkline.config.model import Storage
from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Secret

_KEYS = ("database_url", "redis_url", "keep_days")
_DATABASE = "TRUNKLINE_DATABASE_URL"
_REDIS = "TRUNKLINE_REDIS_URL"

_POSTGRES = (
    "write postgresql://user:password@host:5432/database, or remove it to keep records in the data "
    "folder"
)
_VALKEY = (
    "write redis://:password@host:6379/0 (rediss:// for TLS) without options after a question "
    "mark, or remove it: PostgreSQL then grants money alone, and machines keep rate limits apart"
)


def read(node: Node | None, root: Node) -> Storage:
    """Take `storage:`; what it does not say, the environment may."""
    fields = node.mapping(_KEYS) if node else {}
    database = fields.get("database_url") or _from_environment(root, _DATABASE)
    redis = fields.get("redis_url") or _from_environment(root, _REDIS)
    if redis and not database:
        raise redis.refusal(
            "Valkey and Redis hand out what PostgreSQL grants, and keep rate limits beside it; "
            f"give storage.database_url (or {_DATABASE}) as well, or remove this"
        )
    return Storage(
        database_url=_url(database, _is_postgres, _POSTGRES) if database else None,
        redis_url=_url(redis, _is_redis, _VALKEY) if redis else None,
        keep_days=fields["keep_days"].whole(1) if "keep_days" in fields else None,
    )


def _from_environment(root: Node, name: str) -> Node | None:
    url = root.environment.get(name)
    return Node(url, name, root.source, root.environment) if url else None


def _is_postgres(parts: SplitResult) -> bool:
    return parts.scheme in {"postgresql", "postgres"}


def _is_redis(parts: SplitResult) -> bool:
    # An option could have the driver say things twice, which gives money twice.
    number = parts.path.strip("/") or "0"
    plain = bool(parts.hostname) and number.isdigit() and not parts.query
    return plain and parts.scheme in {"redis", "rediss"}


def _url(node: Node, right: Callable[[SplitResult], bool], mend: str) -> Secret:
    url = node.text()
    try:
        parts = urlsplit(url)
        password, _ = parts.password, parts.port
    except ValueError:
        parts, password = urlsplit(""), None
    if not right(parts):
        raise node.fault(mend)
    know([url, *([password] if password else [])])
    return Secret(url)
