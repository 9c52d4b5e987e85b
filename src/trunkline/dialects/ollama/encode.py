"""Make the request for a server.

Source: https://docs.ollama.com/api/chat 2026-11-20
"""

from __future__ import annotations

from msgspec.json import encode as dump

from trunkline.dialects.ollama.build import Builder
from trunkline.types import Chat, Deployment, Outgoing, Wire

_OTHER_ENDS = ("/v1", "/api")
"""What an address may end with that was meant for another of its APIs, or for its clients."""


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a server.

    Raises:
        InputError: the prompt says nothing.
        CapabilityMissing: it has something that Ollama takes in no form.
    """
    builder = Builder(deployment.model, foreign=isinstance(chat.body, Wire))
    fields = builder.fields(chat.prompt)
    if chat.partial:
        fields["messages"].append({"role": "assistant", "content": chat.partial})
    return Outgoing(
        url=_url(deployment.base_url, "/api/chat"),
        headers=_headers(deployment, stream=chat.stream),
        body=dump({"model": deployment.model, "stream": chat.stream, **fields}),
        dropped=tuple(sorted(builder.dropped)),
    )


def continues(chat: Chat, deployment: Deployment) -> bool:
    """Whether the model goes on from `chat.partial`: a last message of its own is left open.

    Source: https://github.com/ollama/ollama/issues/6778 2026-11-20
    """
    return True


def listing(deployment: Deployment) -> Outgoing:
    """Make the request for the list of the server's models, which costs nothing.

    Source: https://docs.ollama.com/api/tags 2026-11-21
    """
    headers = _headers(deployment, stream=False)
    url = _url(deployment.base_url, "/api/tags")
    return Outgoing(url=url, headers=headers, body=b"", method="GET")


def _url(base_url: str, path: str) -> str:
    base, mark, query = base_url.partition("?")
    base = base.rstrip("/")
    for end in _OTHER_ENDS:
        base = base.removesuffix(end)
    return f"{base}{path}{mark}{query}"


def _headers(deployment: Deployment, *, stream: bool) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "application/x-ndjson" if stream else "application/json",
    }
    if deployment.api_key is not None:  # ollama.com, or a proxy: a server of one's own has no keys
        headers["authorization"] = f"Bearer {deployment.api_key.reveal()}"
    return headers | {name.lower(): value for name, value in deployment.headers}
