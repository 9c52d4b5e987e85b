"""Make the request for a provider: the caller's own fields, with documented edits."""

from __future__ import annotations

from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.encode import apply_quirks, endpoint, headers
from trunkline.types import Deployment, Embed, Outgoing


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Every field goes up as it came, but for `model` and what a quirk of the deployment drops or
    renames. That a provider knows no `encoding_format` is no loss: `write` spells vectors anew.
    """
    model = deployment.wire_model or deployment.model
    fields: dict[str, Any] = {**call.body.fields, "model": model}
    dropped = apply_quirks(fields, deployment, thoughts=False)
    return Outgoing(
        url=endpoint(deployment, "/embeddings"),
        headers=headers(deployment, stream=False),
        body=dump(fields),
        dropped=tuple(name for name in dropped if name != "encoding_format"),
    )
