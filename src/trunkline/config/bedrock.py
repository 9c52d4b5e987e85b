"""Where AWS Bedrock answers, and with whose keys it is asked: `region`, `profile`.

Source: https://docs.aws.amazon.com/general/latest/gr/bedrock.html 2026-11-20
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from trunkline.config.node import Node
from trunkline.errors import ConfigError

KEYS = ("region", "profile")
_AWS = "aws:"
_REGION = re.compile(r"[a-z]{2,8}(-[a-z]+){1,3}-\d{1,2}")
_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


def place(
    node: Node, fields: Mapping[str, Node], base_url: str, key: str | None
) -> tuple[str, str]:
    """Return the address in the region, and a `Deployment.credential`.

    Without a key requests are signed. A signature tells nobody the key it was made with, so any
    host may see it.

    Raises:
        ConfigError: no region, or something that cannot be one; a key and a profile.
    """
    profile = fields.get("profile")
    if profile is not None and {"api_key", "api_key_file"} & fields.keys():
        raise profile.fault("write either api_key or profile")
    region = _region(node, fields.get("region"))
    signs = key is None or profile is not None
    elsewhere = "base_url" in fields
    if not region and (signs or not elsewhere):
        raise ConfigError(
            f"{node.where}: nothing says which region answers; write region, for example "
            "us-east-1, or set AWS_REGION in the environment"
        )
    if not elsewhere:
        end = ".cn" if region.startswith("cn-") else ""
        base_url = f"https://bedrock-runtime.{region}.amazonaws.com{end}"
    if not signs:
        return base_url, ""
    return base_url, f"{_AWS}{region}{'' if profile is None else ':' + profile.text()}"


def _region(node: Node, field: Node | None) -> str:
    """Return what the configuration says, else what the environment does."""
    found = field
    for variable in _VARIABLES if field is None else ():
        text = node.environment.get(variable)
        if found is None and text:
            found = Node(text, variable, node.source, node.environment)
    if found is None:
        return ""
    if not _REGION.fullmatch(found.text()):
        raise found.fault("write a region as AWS names it, for example us-east-1")
    return found.text()
