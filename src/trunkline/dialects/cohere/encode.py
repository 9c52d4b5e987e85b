"""Make the request for a provider.

Source: https://docs.cohere.com/reference/chat 2026-11-20
"""

from __future__ import annotations

from msgspec.json import encode as dump

from trunkline.dialects.cohere.build import Builder
from trunkline.types import Chat, Deployment, Outgoing, Wire


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Raises:
        InputError: the prompt says nothing.
        CapabilityMissing: it has something that Cohere takes in no form.
    """
    builder = Builder(deployment.model, foreign=isinstance(chat.body, Wire))
    fields = builder.fields(chat.prompt)
    return Outgoing(
        url=url(deployment.base_url, "/chat"),
        headers=headers(deployment, stream=chat.stream),
        body=dump({"model": deployment.model, "stream": chat.stream, **fields}),
        dropped=tuple(sorted(builder.dropped)),
    )


def listing(deployment: Deployment) -> Outgoing:
    """Make the request for the list of the provider's models, which costs nothing.

    It is of the first version still. Source: https://docs.cohere.com/reference/list-models
    2026-11-21
    """
    base, mark, query = deployment.base_url.partition("?")
    place = f"{base.rstrip('/').removesuffix('/v2')}/v1/models{mark}{query}"
    return Outgoing(url=place, headers=headers(deployment), body=b"", method="GET")


def url(base_url: str, path: str) -> str:
    """Return where `path` is below a base URL, whose query is kept."""
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}{path}{mark}{query}"


def headers(deployment: Deployment, *, stream: bool = False) -> dict[str, str]:
    """Return the headers of a request: what is sent and taken, the key, the configured ones."""
    fields = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
    }
    if deployment.api_key is not None:
        fields["authorization"] = f"Bearer {deployment.api_key.reveal()}"
    return fields | {name.lower(): value for name, value in deployment.headers}
