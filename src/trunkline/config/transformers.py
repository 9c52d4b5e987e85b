"""How models run in this process: `device`, `dtype`, `download`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from trunkline.config.node import Node

KEYS = ("device", "dtype", "download")
_DEVICE = re.compile(r"[a-z]+(:\d+)?")
_DTYPE = re.compile(r"[a-z]+\d*")


def backend(fields: Mapping[str, Node], names: Collection[str]) -> str:
    """Return the name of the backend with what these keys say, and the models it may load.

    Raises:
        ConfigError: a word that torch could not have.
    """
    device = _word(fields.get("device"), _DEVICE, "auto, cpu, cuda, cuda:1 or mps")
    dtype = _word(fields.get("dtype"), _DTYPE, "auto, float32, float16 or bfloat16")
    download = "download" in fields and fields["download"].flag()
    place = f"transformers:{device},{dtype},{'download' if download else 'local'}"
    return "\n".join((place, *names))


def _word(node: Node | None, shape: re.Pattern[str], example: str) -> str:
    text = "auto" if node is None else node.text()
    if node is not None and not shape.fullmatch(text):
        raise node.fault(f"write {example}")
    return text
