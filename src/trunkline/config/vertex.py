"""Where Vertex AI answers, and who proves there who asks: `project`, `location`, credentials.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest 2026-11-20
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from trunkline.config.node import Node
from trunkline.errors import ConfigError

KEYS = ("project", "location", "credentials_file")
_GOOGLE = "google:"
_EXPRESS = ("AIza", "AQ.")
"""How API keys begin, which know their project; any other key is a token."""
_MULTI = frozenset({"us", "eu"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")


def place(
    node: Node, fields: Mapping[str, Node], base_url: str, key: str | None
) -> tuple[str, str]:
    """Return the address with project and location, and a `Deployment.credential`.

    Without a key Google's own credentials are used; those of the machine never for another host
    than Google's.

    Raises:
        ConfigError: no project, or something that cannot be one; a credential twice or unreadable.
    """
    file = fields.get("credentials_file")
    if file is not None and key is not None:
        raise file.fault("write either api_key or credentials_file")
    path, known = _file(file)
    project = _word(node, fields.get("project"), "GOOGLE_CLOUD_PROJECT") or known
    location = _word(node, fields.get("location"), "GOOGLE_CLOUD_LOCATION") or "global"
    elsewhere = "base_url" in fields
    credential = "" if key is not None or (elsewhere and file is None) else _GOOGLE + path
    if not elsewhere:
        base_url = f"https://{_host(location)}/v1"
    if project:
        return f"{base_url}/projects/{project}/locations/{location}", credential
    if key is not None and key.startswith(_EXPRESS):
        return base_url, credential
    raise ConfigError(
        f"{node.where}: nothing says which project pays; write project, or set "
        "GOOGLE_CLOUD_PROJECT in the environment"
    )


def _file(node: Node | None) -> tuple[str, str]:
    """Return the path of a file with credentials, and the project that it names."""
    if node is None:
        return "", ""
    path = (Path(node.source).parent / node.text()).absolute()
    try:
        content = json.loads(path.read_text("utf-8"))
        project = content.get("project_id") or ""
    except (OSError, ValueError, AttributeError) as error:
        raise node.fault(
            f"it cannot be read ({type(error).__name__}); name a JSON file with Google credentials"
        ) from None
    return str(path), project


def _word(node: Node, field: Node | None, variable: str) -> str:
    text = field.text() if field is not None else node.environment.get(variable) or ""
    if text and not _NAME.fullmatch(text):
        wrong = field or Node(text, variable, node.source, node.environment)
        raise wrong.fault("write an id as Google Cloud shows it")
    return text


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _MULTI:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"
