"""Bedrock's count of a prompt's tokens, which not all of its models have.

It takes the names of models themselves, not those of inference profiles, which chats are asked by.
Source: https://github.com/pydantic/pydantic-ai/issues/4001 2026-11-21
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html
2026-11-21
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump
from msgspec.structs import replace

from trunkline.codec import counted
from trunkline.dialects.bedrock.answer import decode_frame
from trunkline.dialects.bedrock.encode import encode as encode_chat
from trunkline.dialects.bedrock.errors import decode_error as decode_chat_error
from trunkline.errors import ProviderError, UpstreamNotFound
from trunkline.types import CountTokens, Deployment, Frame, Memo, Outgoing

NAME: Final = "bedrock_counting"
FRAMING: Final[Literal["eventstream"]] = "eventstream"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_TAKEN = ("messages", "system", "toolConfig", "additionalModelRequestFields")
_PROFILE = re.compile(r"^(apac|au|ca|eu|global|jp|us|us-gov)\.")
_NONE = re.compile(r"support counting|on-demand throughput|model identifier")
_FIELDS = Decoder(dict[str, Raw])


def encode(call: CountTokens, deployment: Deployment) -> Outgoing:
    """Make the request for a provider, around what shapes the prompt of the chat.

    Raises:
        InputError: the prompt says nothing, or the model's name can be none.
        CapabilityMissing: the prompt has something that Bedrock takes in no form.
    """
    model = _PROFILE.sub("", deployment.model)
    outgoing = encode_chat(call, replace(deployment, model=model))
    fields = _FIELDS.decode(outgoing.body)
    asked = {name: fields[name] for name in _TAKEN if name in fields}
    url, mark, query = outgoing.url.partition("?")
    return replace(
        outgoing,
        url=f"{url.removesuffix('converse')}count-tokens{mark}{query}",
        body=dump({"input": {"converse": asked}}),
        dropped=(),
    )


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Name what a non-2xx answer means; a model that cannot be counted for is a 404, not a 400."""
    error = decode_chat_error(status, headers, body)
    if status == 400 and _NONE.search(error.message):
        code = error.upstream_code
        return UpstreamNotFound(error.message, upstream_status=404, upstream_code=code)
    return error


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a count (a 2xx body).

    Raises:
        BadAnswer: it has none.
    """
    return counted(body, "inputTokens")
