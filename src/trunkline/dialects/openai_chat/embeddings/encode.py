"""Make the request for a provider: the caller's own fields, with documented edits."""

from __future__ import annotations

from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.encode import apply_quirks, endpoint, headers
from trunkline.types import Deployment, Embed, Outgoing


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Every field goes up as it came, but for `model` and what a quirk of the deployment sets, drops
    or renames. `encoding_format` is ours to choose: `write` spells vectors as the caller asked.
    """
    model = deployment.wire_model or deployment.model
    fields: dict[str, Any] = {**call.body.fields, "model": model}
    if "packed_vectors" in deployment.quirks:
        fields["encoding_format"] = "base64"
    dropped = apply_quirks(fields, deployment, thoughts=False)
    return Outgoing(
        url=endpoint(deployment, "/embeddings"),
        headers=headers(deployment, stream=False),
        body=dump(fields),
        dropped=tuple(name for name in dropped if name != "encoding_format"),
    )
