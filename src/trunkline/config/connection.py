"""How a provider is reached: address, headers, credential file, time-outs and caps."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec.structs import replace

from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Limits, RateLimit

SECONDS = {
    "timeout": "timeout_s",
    "first_token_timeout": "first_token_timeout_s",
    "idle_timeout": "idle_timeout_s",
    "connect_timeout": "connect_timeout_s",
}
RATES = ("requests_per_minute", "tokens_per_minute")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
CREDENTIAL_HEADER = re.compile(r"(?i)auth|key|token|secret|cookie")


def limits(usual: Limits, fields: dict[str, Node]) -> Limits:
    """Read time-outs and caps; what is not given is as usual."""
    values: dict[str, float | int] = {
        field: fields[key].seconds() for key, field in SECONDS.items() if key in fields
    }
    if "max_parallel" in fields:
        values["max_parallel"] = fields["max_parallel"].whole(1)
    return replace(usual, **values)


def rates(node: Node | None, scope: str) -> tuple[RateLimit, ...]:
    """Read `rate_limits:` of a scope; none if it says nothing."""
    said = {key: field.whole(1) for key, field in (node.mapping(RATES) if node else {}).items()}
    return (RateLimit(scope=scope, **said),) if said else ()


def base_url(node: Node, usual_path: str) -> str:
    """Read a base URL; one without a path gets the usual one."""
    example = "http://localhost:8000/v1"
    url = node.url(example)
    if url.query:
        raise node.fault(f"write an address like {example}, without '?' and what follows it")
    text = node.text().rstrip("/")
    return text if url.path.rstrip("/") else text + usual_path


def headers(node: Node | None) -> tuple[tuple[str, str], ...]:
    """Read headers to add to every request."""
    pairs = []
    for name, field in (node.entries() if node else {}).items():
        value = field.text()
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise field.fault("this cannot be an HTTP header; check its name and line ends")
        if CREDENTIAL_HEADER.search(name):
            know([value])
        pairs.append((name, value))
    return tuple(pairs)


def key_file(node: Node) -> str:
    """Read a credential from the file that `node` names, relative to the configuration."""
    path = Path(node.source).parent / node.text()
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise node.fault(
            f"it cannot be read ({type(error).__name__}); name a file with the key"
        ) from None
    if not key:
        raise node.fault("that file is empty; write the key into it")
    return key
