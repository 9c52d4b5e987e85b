"""Make the request for a provider; the transport signs it, unless there is a key.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html 2026-11-20
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from msgspec.json import encode as dump

from trunkline.codec import check_buckets
from trunkline.dialects.bedrock.build import Builder
from trunkline.dialects.bedrock.media import BUCKET
from trunkline.dialects.bedrock.models import traits_of
from trunkline.errors import InputError
from trunkline.types import Chat, Deployment, Outgoing, Wire

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.:/-]+")


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Raises:
        InputError: the prompt says nothing, something stands in a bucket that is not listed, or
            the model's name can be none.
        CapabilityMissing: the prompt has something that Bedrock takes in no form.
    """
    builder = Builder(traits_of(deployment.model), foreign=isinstance(chat.body, Wire))
    fields = builder.fields(chat.prompt)
    body = dump(fields)
    if BUCKET.encode() in body:
        check_buckets([fields[name] for name in fields if name != "toolConfig"], BUCKET, deployment)
    return Outgoing(
        url=_url(deployment, stream=chat.stream),
        headers=_headers(deployment, stream=chat.stream),
        body=body,
        dropped=tuple(sorted(builder.dropped)),
    )


def listing(deployment: Deployment) -> Outgoing:
    """Make a request that costs nothing; whoever runs models has no list, but says who it is.

    Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html
    2026-11-21
    """
    base, mark, query = deployment.base_url.partition("?")
    url = f"{base.rstrip('/')}/foundation-models{mark}{query}"
    return Outgoing(url=url, headers=_headers(deployment, stream=False), body=b"", method="GET")


def _url(deployment: Deployment, *, stream: bool) -> str:
    """Return where to ask; names and ARNs are percent-encoded once, though they came so."""
    model = unquote(deployment.model)
    if not _NAME.fullmatch(model):
        raise InputError(f"{model!r} cannot be the name of a model or an ARN", param="model")
    base, mark, query = deployment.base_url.partition("?")
    method = "converse-stream" if stream else "converse"
    return f"{base.rstrip('/')}/model/{quote(model, safe='')}/{method}{mark}{query}"


def _headers(deployment: Deployment, *, stream: bool) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "application/vnd.amazon.eventstream" if stream else "application/json",
    }
    if deployment.api_key is not None:
        headers["authorization"] = f"Bearer {deployment.api_key.reveal()}"
    return headers | {name.lower(): value for name, value in deployment.headers}
