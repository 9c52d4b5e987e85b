"""Servers of models on this machine: which of them answer, what they are, and what they have.

Asked when a configuration is written (`trunkline init`) or when there is none, never beside a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import decode as load

from trunkline.catalog import rows
from trunkline.codec import BROKEN
from trunkline.config.environment import Environment
from trunkline.egress import looked_up, reachable

_EVERYWHERE = {"", "0.0.0.0", "::"}
"""What a server is told that is to listen everywhere."""
_OLLAMA_PORT = 11434
_EMBEDS = ("bert", "embed")
"""Parts of the names of models, or of their families, that write no answers."""
_OLLAMA, _LOCALAI, _MODELS = "/api/version", "/.well-known/localai.json", "/v1/models"
_TAGS, _LMSTUDIO = "/api/tags", "/api/v0/models"


Said = Mapping[str, dict[str, Any]]
"""What a server answered, by path."""


class LocalServer(Struct, frozen=True):
    """A server that answers."""

    name: str
    """Its provider row."""
    base_url: str
    models: tuple[str, ...]
    """What it has for chats; may be empty."""


def local_servers(environment: Environment, places: list[str] | None = None) -> list[LocalServer]:
    """Return the servers that answer and say who they are, in the order of the provider rows.

    All places are asked at the same time, without a credential. It takes no time where nothing
    listens, and a few seconds where something hangs. `TRUNKLINE_DISCOVERY=off` finds none.

    Args:
        places: addresses without a path; by default the usual ones, and where OLLAMA_HOST says.
    """
    if environment.get("TRUNKLINE_DISCOVERY") == "off":
        return []
    asked = usual_places(environment) if places is None else places
    up = [place for place, answers in reachable({one: one for one in asked}).items() if answers]
    paths = (_OLLAMA, _LOCALAI, _MODELS, _TAGS, _LMSTUDIO)
    bodies = looked_up([place + path for place in up for path in paths])
    found: dict[str, LocalServer] = {}
    for place in up:
        said = {path: _object(bodies[place + path]) for path in paths}
        for name, models_in in _KINDS.items():
            if (models := models_in(said)) is not None:
                base_url = place + rows()[name].usual_path
                found.setdefault(
                    name, LocalServer(name, base_url, (*filter(_writes, dict.fromkeys(models)),))
                )
                break
    return [found[name] for name in rows() if name in found]


def entries(environment: Environment) -> dict[str, Any]:
    """Return what a configuration would say of the servers found: the entries of `providers:`."""
    return {
        server.name: {
            "base_url": server.base_url,
            **({"models": list(server.models)} if server.models else {}),
        }
        for server in local_servers(environment)
    }


def usual_places(environment: Environment) -> list[str]:
    """Return where local servers are looked for."""
    urls = {row.name: urlsplit(row.base_url) for row in rows().values() if row.local}
    places = {name: f"{url.scheme}://{url.netloc}" for name, url in urls.items() if url.netloc}
    if host := environment.get("OLLAMA_HOST"):
        places["ollama"] = ollama_place(host) or places["ollama"]
    return list(dict.fromkeys(places.values()))


def ollama_place(host: str) -> str | None:
    """Return the address that OLLAMA_HOST means, also where it says on what to listen.

    None = it is no address.
    Source: https://docs.ollama.com/faq#how-do-i-configure-ollama-server 2026-11-20
    """
    scheme, mark, rest = host.rpartition("://")
    try:
        url = urlsplit(f"{scheme or 'http'}://{rest}")
        port = url.port or ({"http": 80, "https": 443}.get(scheme, _OLLAMA_PORT))
    except ValueError:
        return None
    name = url.hostname or ""
    name = "localhost" if name in _EVERYWHERE else f"[{name}]" if ":" in name else name
    return f"{scheme if mark else 'http'}://{name}:{port}"


def _object(body: bytes | None) -> dict[str, Any]:
    """Return a JSON object that was answered; anything else says nothing."""
    try:
        value = load(body or b"")
    except BROKEN:
        return {}
    return value if isinstance(value, dict) else {}


def _listed(said: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items = said.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _names(items: list[dict[str, Any]], field: str = "id") -> list[str]:
    return [name for item in items if isinstance(name := item.get(field), str) and name]


def _ollama(said: Said) -> list[str] | None:
    """Tell Ollama by two of its endpoints: Open WebUI has the first one too.

    Source: https://docs.ollama.com/api/tags and /api-reference/get-version 2026-11-20
    """
    if "version" not in said[_OLLAMA] or "models" not in said[_TAGS]:
        return None
    kept = [
        item for item in _listed(said[_TAGS], "models") if _writes(_family(item.get("details")))
    ]
    return _names(kept, "name")


def _family(details: Any) -> str:
    return str(details.get("family") or "") if isinstance(details, dict) else ""


def _lmstudio(said: Said) -> list[str] | None:
    """Tell LM Studio by its own list of models, which has their types.

    Source: https://lmstudio.ai/docs/api/rest-api (GET /api/v0/models) 2026-11-20
    """
    if "data" not in said[_LMSTUDIO]:
        return None
    items = _listed(said[_LMSTUDIO], "data")
    return _names([item for item in items if item.get("type") in {"llm", "vlm"}])


def _localai(said: Said) -> list[str] | None:
    """Tell LocalAI by the file in which it says so.

    Source: https://localai.io/features/api-discovery/ 2026-11-20
    """
    if "endpoints" not in said[_LOCALAI]:
        return None
    return _names(_listed(said[_MODELS], "data"))


def _owned(owner: str) -> Callable[[Said], list[str] | None]:
    """Tell a server by its name in its list of models.

    Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md 2026-11-20
    Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html 2026-11-20
    """

    def models(said: Said) -> list[str] | None:
        items = _listed(said[_MODELS], "data")
        return _names(items) if any(item.get("owned_by") == owner for item in items) else None

    return models


def _writes(name: str) -> bool:
    return not any(part in name.lower() for part in _EMBEDS)


_KINDS: dict[str, Callable[[Said], list[str] | None]] = {
    "ollama": _ollama,
    "lmstudio": _lmstudio,
    "localai": _localai,
    "vllm": _owned("vllm"),
    "llamacpp": _owned("llamacpp"),
}
"""The provider rows by how each is known: None = it is not this one, else its models."""
