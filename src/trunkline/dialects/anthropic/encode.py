"""Make the request for a provider: the caller's own bytes, with documented edits."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.claude import traits_of
from trunkline.dialects.anthropic.blocks import FERNET, SEAL
from trunkline.dialects.anthropic.build import DEFAULT_MAX_TOKENS, Builder
from trunkline.dialects.anthropic.spell import CARRIED
from trunkline.types import Chat, Deployment, Outgoing, Wire

Json = dict[str, Any]
_VERSION = "2023-06-01"
_VERTEX_VERSION = "vertex-2023-10-16"
_FOREIGN = (FERNET, SEAL)
_UNSIGNED = re.compile(
    rb'"signature"\s*:\s*"(?:(?:%b|%b)[^"]*)?"' % (FERNET.encode(), SEAL.encode())
)
"""No signature, or another provider's proof of a thought, which Anthropic would refuse."""
_CARRIES = b'"%b"' % CARRIED.encode()
_MESSAGES = Decoder(list[dict[str, Raw]])
_CONTENT = Decoder(str | list[Raw])
_BLOCK = Decoder(dict[str, Any])


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    A body of this dialect is relayed field by field as it came. Only these change: `model`,
    `stream`, the cap on output when a layer set one or none was set, and what `write` made of
    another provider's answer (thinking blocks with an empty signature, proofs beside calls) goes
    out.

    Raises:
        InputError: the prompt says nothing, or something no model of Anthropic takes.
    """
    wire = chat.body if isinstance(chat.body, Wire) else None
    dropped: list[str] = []
    if wire is not None and wire.dialect == "anthropic":
        fields = _relayed(wire)
    else:
        builder = Builder(traits_of(deployment.model), foreign=wire is not None)
        fields = builder.fields(chat.prompt)
        dropped = builder.dropped
    if chat.partial:
        _add_partial(fields, chat.partial)
    vertex = "vertex" in deployment.quirks
    if vertex:
        fields.pop("model", None)
        fields["anthropic_version"] = _VERTEX_VERSION
    else:
        fields["model"] = deployment.model
    if chat.stream:
        fields["stream"] = True
    else:
        fields.pop("stream", None)
    return Outgoing(
        url=_vertex_url(deployment, stream=chat.stream)
        if vertex
        else _url(deployment.base_url, "/messages"),
        headers=_headers(deployment, wire, stream=chat.stream),
        body=dump(fields),
        dropped=tuple(sorted(dropped)),
    )


def continues(chat: Chat, deployment: Deployment) -> bool:
    """Whether the model goes on from `chat.partial`: an older one that is not asked to think."""
    reasoning = chat.prompt.reasoning
    thinks = reasoning is not None and reasoning.enabled is not False
    return traits_of(deployment.model).prefix and not thinks


def _add_partial(fields: Json, partial: str) -> None:
    """Add the beginning of the answer as the last message; it must not end in blanks."""
    messages = fields["messages"]
    if isinstance(messages, Raw):
        messages = _MESSAGES.decode(messages)
    fields["messages"] = [*messages, {"role": "assistant", "content": partial.rstrip()}]


def _relayed(wire: Wire) -> Json:
    fields: Json = dict(wire.fields)
    cap = wire.max_output_tokens
    if cap is None:
        cap = DEFAULT_MAX_TOKENS
    if bytes(fields.get("max_tokens", b"")) != b"%d" % cap:
        fields["max_tokens"] = cap
    messages = wire.fields["messages"]
    if _CARRIES in bytes(messages) or _UNSIGNED.search(messages):
        fields["messages"] = _without_foreign(messages)
    return fields


def _without_foreign(messages: Raw) -> list[dict[str, Any]]:
    """Leave out thoughts nobody signed, turns of nothing else, and others' proofs of calls."""
    kept: list[dict[str, Any]] = []
    for message in _MESSAGES.decode(messages):
        content = _CONTENT.decode(message["content"])
        if isinstance(content, str):
            kept.append(message)
        elif signed := [_bare(raw) for raw in content if not _is_unsigned(raw)]:
            kept.append(message | {"content": signed})
    return kept


def _bare(raw: Raw) -> Raw | Json:
    if _CARRIES not in bytes(raw):
        return raw
    block = _BLOCK.decode(raw)
    return raw if block.pop(CARRIED, None) is None else block


def _is_unsigned(raw: Raw) -> bool:
    if not _UNSIGNED.search(raw):
        return False
    block = _BLOCK.decode(raw)
    signature = block.get("signature")
    foreign = isinstance(signature, str) and signature.startswith(_FOREIGN)
    return block.get("type") == "thinking" and (signature == "" or foreign)


def listing(deployment: Deployment) -> Outgoing:
    """Make the request for the list of the provider's models, which costs nothing.

    Source: https://platform.claude.com/docs/en/api/models-list (2026-11-20)
    """
    return Outgoing(
        url=_url(deployment.base_url, "/models"),
        headers=_headers(deployment, None, stream=False),
        body=b"",
        method="GET",
    )


def _url(base_url: str, path: str) -> str:
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}{path}{mark}{query}"


def _vertex_url(deployment: Deployment, *, stream: bool) -> str:
    """Return where a model of Anthropic's stands on Vertex AI, which has it in the path.

    Source: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai 2026-11-20
    """
    method = "streamRawPredict" if stream else "rawPredict"
    model = quote(deployment.model, safe="@")
    return _url(deployment.base_url, f"/publishers/anthropic/models/{model}:{method}")


def _headers(deployment: Deployment, wire: Wire | None, *, stream: bool) -> dict[str, str]:
    """Return the headers: the caller's version and betas count, and the deployment's betas too."""
    said = wire.headers if wire is not None and wire.dialect == "anthropic" else {}
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        "anthropic-version": _VERSION,
        **said,
    }
    if deployment.api_key is not None:
        key = deployment.api_key.reveal()
        if "vertex" in deployment.quirks:
            headers["authorization"] = f"Bearer {key}"
        else:
            headers["x-api-key"] = key
    configured = {name.lower(): value for name, value in deployment.headers}
    betas = [where["anthropic-beta"] for where in (said, configured) if "anthropic-beta" in where]
    headers |= configured
    if betas:
        names = (name.strip() for beta in betas for name in beta.split(","))
        headers["anthropic-beta"] = ",".join(dict.fromkeys(name for name in names if name))
    return headers
