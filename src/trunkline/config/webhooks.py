"""Webhooks: who is told over HTTP of what calls used."""

from __future__ import annotations

from trunkline.config.model import Webhook
from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Secret

_KEYS = ("url", "secret", "events", "allow_private")
_EVENTS = ("usage.recorded",)
_SHORTEST_SECRET_CHARS = 16


def read(node: Node | None) -> tuple[Webhook, ...]:
    """Take `webhooks:`."""
    found: dict[str, Webhook] = {}
    for item in node.items() if node else ():
        fields = item.mapping(_KEYS)
        for wanted in ("url", "secret"):
            if wanted not in fields:
                raise item.fault(
                    f"{wanted} is missing; write "
                    "{url: https://billing.example.com/usage, secret: ${HOOK_SECRET}}"
                )
        allow_private = "allow_private" in fields and fields["allow_private"].flag()
        url = _url(fields["url"], allow_private=allow_private)
        if url in found:
            raise fields["url"].fault("remove it: there is a webhook for this address already")
        secret = fields["secret"].text()
        if len(secret) < _SHORTEST_SECRET_CHARS:
            raise fields["secret"].fault(f"write at least {_SHORTEST_SECRET_CHARS} characters")
        know([secret])
        if "events" in fields:
            events = [event.choice(_EVENTS) for event in fields["events"].items()]
            if not events:
                raise fields["events"].fault(f"write [{', '.join(_EVENTS)}], or remove the key")
        found[url] = Webhook(url=url, secret=Secret(secret), allow_private=allow_private)
    return tuple(found.values())


def _url(node: Node, *, allow_private: bool) -> str:
    url = node.url("https://billing.example.com/usage")
    if url.scheme == "http" and not allow_private:
        raise node.fault("write https://, or allow_private: true for one in your own network")
    return node.text()
