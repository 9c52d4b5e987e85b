"""Where Azure OpenAI answers: a resource, a version of its API, and names of deployments.

The current API (`/openai/v1`) has no version and takes the deployment's name as the model; the
dated one has the name in the path and `api-version` in the query. Models of Azure AI Foundry that
are not OpenAI's answer at `/models`, which is dated too.
Source: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle 2026-11-20
Source: https://learn.microsoft.com/azure/ai-services/openai/reference 2026-11-20
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from msgspec import Struct

from trunkline.config.node import Node

KEYS = ("api_version", "deployments")
_VARIABLE = "OPENAI_API_VERSION"
_DATED = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
_CURRENT = ("v1", "latest", "preview")
_FOUNDRY_VERSION = "2024-05-01-preview"
"""The only version `/models` has had.
Source: https://learn.microsoft.com/rest/api/aifoundry/modelinference 2026-11-20"""


class Place(Struct, kw_only=True):
    """What follows from the settings."""

    base_url: str
    quirks: frozenset[str]
    dated: bool
    """True = of the dated API, which has the Responses API only in some versions."""


def place(
    fields: Mapping[str, Node], node: Node, base_url: str, key: str | None, quirks: frozenset[str]
) -> Place:
    """Return the address for a version, and the quirks that go with it and with the key.

    Raises:
        ConfigError: no version, or an address that names a deployment.
    """
    if "/deployments/" in base_url:
        where = fields.get("base_url", node)
        raise where.fault(
            "write the address of the resource, like https://NAME.openai.azure.com, and what "
            "follows '/deployments/' under deployments, as in {gpt-4o: NAME}"
        )
    if key is not None and key.startswith("eyJ"):  # a token of Entra ID; keys never begin so
        quirks -= {"api_key_header"}
    version = _version(fields.get("api_version"), node)
    if base_url.endswith("/models"):
        version = version or _FOUNDRY_VERSION
        return Place(base_url=f"{base_url}?api-version={version}", quirks=quirks, dated=True)
    base_url = re.sub(r"(/openai)?(/v1)?$", "/openai", base_url, count=1)
    if _DATED.fullmatch(version):
        quirks |= {"deployment_path"}
        return Place(base_url=f"{base_url}?api-version={version}", quirks=quirks, dated=True)
    query = "?api-version=preview" if version == "preview" else ""
    return Place(base_url=f"{base_url}/v1{query}", quirks=quirks, dated=False)


def deployments(fields: Mapping[str, Node]) -> dict[str, str]:
    """Read which deployment answers for which model."""
    if "deployments" not in fields:
        return {}
    return {model: name.text() for model, name in fields["deployments"].entries().items()}


def _version(node: Node | None, around: Node) -> str:
    """Return the version, "" = the current API. YAML reads one that is a date as a date."""
    if node is None:
        if not (text := around.environment.get(_VARIABLE)):
            return ""
        node = Node(text, _VARIABLE, around.source, around.environment)
    day = node.value
    text = day.isoformat() if isinstance(day, datetime.date) else node.text()
    if text not in _CURRENT and not _DATED.fullmatch(text):
        raise node.fault("write a version like 2024-10-21, or remove it for the current API (v1)")
    return text
