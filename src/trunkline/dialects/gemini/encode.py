"""Make the request for a provider: the Gemini API, or Vertex AI with the same words.

Source: https://ai.google.dev/api/generate-content 2026-11-20
Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models
2026-11-20
"""

from __future__ import annotations

from urllib.parse import quote

from msgspec.json import encode as dump

from trunkline.codec import check_buckets
from trunkline.dialects.gemini.build import Builder
from trunkline.dialects.gemini.models import traits_of
from trunkline.errors import InputError
from trunkline.types import Chat, Deployment, Outgoing, Wire

FOLDERS = ("models/", "tunedModels/")
_BUCKET = "gs://"
_VERTEX_FOLDERS = ("publishers/", "endpoints/")
_KEY_BEGINNINGS = ("AIza", "AQ.")
"""How Google's API keys begin; any other credential of Vertex is a token."""


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Raises:
        InputError: the prompt says nothing, something stands in a bucket that is not listed, or
            the model's name cannot stand in a path.
    """
    traits = traits_of(deployment.model, vertex="vertex" in deployment.quirks)
    builder = Builder(traits, foreign=isinstance(chat.body, Wire))
    fields = builder.fields(chat.prompt)
    body = dump(fields)
    if _BUCKET.encode() in body:
        check_buckets([fields[name] for name in fields if name != "tools"], _BUCKET, deployment)
    return Outgoing(
        url=_url(deployment, stream=chat.stream),
        headers=headers(deployment, stream=chat.stream),
        body=body,
        dropped=tuple(sorted(builder.dropped)),
    )


def listing(deployment: Deployment) -> Outgoing:
    """Make the request for the list of the provider's models, which costs nothing.

    Source: https://ai.google.dev/api/models#method:-models.list 2026-11-21
    """
    base, mark, query = deployment.base_url.partition("?")
    folder = "publishers/google/models" if "vertex" in deployment.quirks else "models"
    url = f"{base.rstrip('/')}/{folder}{mark}{query}"
    return Outgoing(url=url, headers=headers(deployment, stream=False), body=b"", method="GET")


def _url(deployment: Deployment, *, stream: bool) -> str:
    base, mark, query = deployment.base_url.partition("?")
    method = "streamGenerateContent" if stream else "generateContent"
    url = f"{base.rstrip('/')}/{path_of(deployment)}:{method}"
    queries = [part for part in ("alt=sse" if stream else "", query if mark else "") if part]
    return f"{url}?{'&'.join(queries)}" if queries else url


def path_of(deployment: Deployment) -> str:
    """Return where a model stands; its name must not lead anywhere else.

    Raises:
        InputError: it would.
    """
    model, vertex = deployment.model, "vertex" in deployment.quirks
    if any(step in {"", ".", ".."} for step in model.split("/")):
        raise InputError(f"{model!r} cannot be the name of a model", param="model")
    folders = _VERTEX_FOLDERS if vertex else FOLDERS
    if model.startswith(folders):
        return quote(model, safe="/@")
    return f"{'publishers/google/models/' if vertex else 'models/'}{quote(model, safe='@')}"


def headers(deployment: Deployment, *, stream: bool) -> dict[str, str]:
    """Return the headers of a request: what is sent and taken, the key, the configured ones."""
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
    }
    if deployment.api_key is not None:
        key = deployment.api_key.reveal()
        if "vertex" in deployment.quirks and not key.startswith(_KEY_BEGINNINGS):
            headers["authorization"] = f"Bearer {key}"
        else:
            headers["x-goog-api-key"] = key
    return headers | {name.lower(): value for name, value in deployment.headers}
