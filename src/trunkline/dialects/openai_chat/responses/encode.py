"""Make the request for a provider: the caller's own bytes, with documented edits."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.encode import headers, limited, url
from trunkline.dialects.openai_chat.quirks import QUIRKS, applying
from trunkline.dialects.openai_chat.responses.build import Builder
from trunkline.dialects.openai_chat.responses.items import CARRIED, SEAL
from trunkline.types import Chat, Deployment, Outgoing, Wire

Json = dict[str, Any]
OURS = "rs_tl_"
"""How the ids of thoughts begin that we spelled for another provider."""
_OURS = re.compile(rb'"(?:%b|%b)' % (OURS.encode(), SEAL.encode()))
_CARRIES = b'"%b"' % CARRIED.encode()
_ITEMS = Decoder(list[Raw])
_ITEM = Decoder(dict[str, Any])
_SAMPLING = frozenset({"temperature", "top_p", "top_logprobs"})


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    A body of this dialect is relayed field by field as it came. Only these change: `model`,
    `stream`, the cap on output when a layer set one, sampling options of models that take none,
    and what `write` spelled of another provider's (thoughts, proofs beside calls) goes out.

    Raises:
        CapabilityMissing: a caller of this dialect refers to what only OpenAI's server holds.
    """
    wire = chat.body if isinstance(chat.body, Wire) else None
    dropped: list[str] = []
    if wire is not None and wire.dialect == "openai_responses":
        fields = _relayed(wire)
    else:
        family = wire is not None and wire.dialect in {"openai_chat", "openai_text"}
        builder = Builder(foreign=wire is not None, family=family)
        fields = builder.fields(chat.prompt)
        dropped = builder.dropped
    fields["model"] = deployment.wire_model or deployment.model
    fields.pop("stream", None)
    if chat.stream:
        fields["stream"] = True
    dropped += [*limited(fields), *_fitted(fields, deployment)]
    return Outgoing(
        url=url(deployment.base_url, "/responses"),
        headers=headers(deployment, stream=chat.stream),
        body=dump(fields),
        dropped=tuple(sorted(dropped)),
    )


def _relayed(wire: Wire) -> Json:
    fields: Json = dict(wire.fields)
    cap = wire.max_output_tokens
    if cap is not None and bytes(fields.get("max_output_tokens", b"")) != b"%d" % cap:
        fields["max_output_tokens"] = cap
    given = wire.fields.get("input", Raw(b'""'))
    raw = bytes(given)
    # A list of items; in words anything may stand.
    if raw[:1] == b"[" and (_CARRIES in raw or _OURS.search(raw)):
        fields["input"] = [_bare(raw) for raw in _ITEMS.decode(given) if not _is_ours(raw)]
    return fields


def _is_ours(raw: Raw) -> bool:
    """Whether an item is a thought that `write` spelled for another provider."""
    if not _OURS.search(raw):
        return False
    item = _ITEM.decode(raw)
    proof = str(item.get("encrypted_content") or "")
    ours = str(item.get("id") or "").startswith(OURS) or proof.startswith(SEAL)
    return item.get("type") == "reasoning" and ours


def _bare(raw: Raw) -> Raw | Json:
    """Return an item without what `write` put beside a call for another provider."""
    if _CARRIES not in bytes(raw):
        return raw
    item = _ITEM.decode(raw)
    return raw if item.pop(CARRIED, None) is None else item


def _fitted(fields: Json, deployment: Deployment) -> list[str]:
    """Take out sampling options where the model takes none; return their names.

    Source: https://platform.openai.com/docs/guides/reasoning 2026-11-20
    """
    if QUIRKS["openai_reasoning_models"] not in applying(deployment):
        return []
    reasoning = fields.get("reasoning")
    effort = _ITEM.decode(dump(reasoning)).get("effort") if reasoning is not None else None
    unfit = [] if effort == "none" else sorted(_SAMPLING & fields.keys())
    for name in unfit:
        del fields[name]
    return unfit
