"""Make the request for a provider: the caller's own bytes, with documented edits."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import quote

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.build import TOOL_KINDS, Builder
from trunkline.dialects.openai_chat.history import opened, without_reasoning
from trunkline.dialects.openai_chat.quirks import Quirk, applying
from trunkline.types import Chat, Deployment, Outgoing, Wire

Json = dict[str, Any]
_OBJECT = Decoder(dict[str, Raw])
_TRUE = Raw(b"true")
_LIMITS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict", "n", "best_of"}
)
"""How much and how many answers may be written: money is held for as much as the call says."""


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    A body of this dialect is relayed field by field as it came. Only these change: `model`,
    `stream`, `stream_options.include_usage` (always asked for), the cap on output when a layer set
    one, and what a quirk of the deployment drops or renames.
    """
    wire = chat.body
    foreign = False
    thoughts = True
    if isinstance(wire, Wire) and wire.dialect == "openai_chat":
        fields = _relayed(wire)
        thoughts = wire.thoughts
    else:
        # Text completions are the same family: their options have the same names here.
        foreign = isinstance(wire, Wire) and wire.dialect != "openai_text"
        back = "reasoning_content_back" in deployment.quirks
        fields = Builder(foreign=foreign, reasoning_back=back).fields(chat.prompt)
    address(fields, chat, deployment)
    dropped = [*limited(fields), *apply_quirks(fields, deployment, thoughts=thoughts)]
    if chat.partial:
        _add_partial(fields, chat.partial, deployment)
    if foreign:
        dropped += [name for name in chat.prompt.extra if name not in fields]
        dropped += [tool.name for tool in chat.prompt.tools if tool.kind not in TOOL_KINDS]
    return Outgoing(
        url=endpoint(deployment, "/chat/completions"),
        headers=headers(deployment, stream=chat.stream),
        body=dump(fields),
        dropped=tuple(dropped),
    )


def continues(chat: Chat, deployment: Deployment) -> bool:
    """Whether the provider goes on from `chat.partial`: one of its quirks says how."""
    return any(
        quirk.goes_on is not None and deployment.base_url.rstrip("/").endswith(quirk.below)
        for quirk in applying(deployment)
    )


def _add_partial(fields: Json, partial: str, deployment: Deployment) -> None:
    """Add the beginning of the answer as the last message, in the provider's way."""
    messages, last = fields["messages"], {"role": "assistant", "content": partial}
    for quirk in applying(deployment):
        if quirk.goes_on is not None:
            last |= quirk.goes_on.get("message", {})
            fields |= quirk.goes_on.get("request", {})
    fields["messages"] = [*opened(messages), last]


def _relayed(wire: Wire) -> Json:
    fields: Json = dict(wire.fields)
    cap = wire.max_output_tokens
    if cap is None:
        return fields
    fields.pop("n_predict", None)  # llama.cpp's own name, which it minds before the others
    if "max_completion_tokens" not in fields:
        fields["max_tokens"] = cap
        return fields
    fields["max_completion_tokens"] = cap
    if "max_tokens" in fields:  # a quirk may make this the one that counts
        fields["max_tokens"] = min(cap, load(fields["max_tokens"]))
    return fields


def limited(fields: Json) -> list[str]:
    """Take limits out of `extra_body`, which proxies merge over the rest; return their names.

    Source: https://docs.litellm.ai/docs/completion/provider_specific_params 2026-11-20
    """
    inner = load(dump(fields["extra_body"])) if "extra_body" in fields else None
    if not isinstance(inner, dict) or _LIMITS.isdisjoint(inner):
        return []
    fields["extra_body"] = {name: inner[name] for name in inner if name not in _LIMITS}
    return [f"extra_body.{name}" for name in inner if name in _LIMITS]


def apply_quirks(fields: Json, deployment: Deployment, *, thoughts: bool) -> list[str]:
    """Edit `fields` as the deployment's quirks say; return what was dropped."""
    dropped: list[str] = []
    for quirk in applying(deployment):
        for old, new in quirk.rename.items():
            if old in fields:
                fields.setdefault(new, fields.pop(old))
        if quirk.no_reasoning_back and thoughts:
            fields["messages"] = without_reasoning(opened(fields["messages"]))
        if quirk.history and "messages" in fields:
            _retell(fields, quirk)
        if quirk.drop.isdisjoint(fields) or (quirk.unless and _says(fields, *quirk.unless)):
            continue
        for name in quirk.drop & fields.keys():
            del fields[name]
            if name != "stream_options":  # ours, not the caller's
                dropped.append(name)
    return sorted(dropped)


def _says(fields: Json, name: str, value: str) -> bool:
    return name in fields and dump(fields[name]) == dump(value)


def _retell(fields: Json, quirk: Quirk) -> None:
    """Edit old messages, if any of them is about tools."""
    messages = fields["messages"]
    if isinstance(messages, Raw) and b'"tool_call' not in bytes(messages):
        return
    messages = opened(messages)
    for edit in quirk.history:
        messages = edit(messages)
    fields["messages"] = messages


def address(fields: Json, chat: Chat, deployment: Deployment) -> None:
    """Name the model and say how the answer shall come; usage is always asked for."""
    fields["model"] = deployment.wire_model or deployment.model
    fields.pop("stream", None)
    options = fields.pop("stream_options", None)
    if chat.stream:
        asked = _OBJECT.decode(dump(options)) if options is not None else {}
        fields |= {"stream": True, "stream_options": asked | {"include_usage": _TRUE}}


def endpoint(deployment: Deployment, path: str) -> str:
    """Return where `path` is; Azure's dated API has the deployment's name before it.

    Source: https://learn.microsoft.com/azure/ai-services/openai/reference 2026-11-20
    """
    if "deployment_path" in deployment.quirks:
        name = quote(deployment.wire_model or deployment.model, safe="")
        path = f"/deployments/{name}{path}"
    return url(deployment.base_url, path)


@lru_cache(maxsize=1024)
def url(base_url: str, path: str) -> str:
    """Return where `path` is below a base URL, whose query is kept."""
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}{path}{mark}{query}"


def listing(deployment: Deployment) -> Outgoing:
    """Make the request for the list of the provider's models, which costs nothing.

    Source: https://platform.openai.com/docs/api-reference/models/list (2026-11-20)
    """
    fields = headers(deployment, stream=False)
    return Outgoing(url=url(deployment.base_url, "/models"), headers=fields, body=b"", method="GET")


def headers(deployment: Deployment, *, stream: bool) -> dict[str, str]:
    """Return the headers of a request: what is sent and taken, the key, the configured ones."""
    fields = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
    }
    if deployment.api_key is not None:
        key = deployment.api_key.reveal()
        if "api_key_header" in deployment.quirks:
            fields["api-key"] = key
        else:
            fields["authorization"] = f"Bearer {key}"
    for name, value in deployment.headers:
        fields[name.lower()] = value
    return fields
