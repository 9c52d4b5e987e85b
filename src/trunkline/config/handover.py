"""A configuration as bytes, so that processes of one gateway have the very same one.

Credentials are in it: it goes through private pipes, never to a disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trunkline.config.connection import CREDENTIAL_HEADER
from trunkline.config.model import Config
from trunkline.observability.redact import know
from trunkline.types import Secret


def encode(config: Config) -> bytes:
    """Return `config` as bytes that `decode` understands, of the same version of Trunkline."""
    return msgspec.msgpack.encode(config, enc_hook=_plain)


def decode(data: bytes) -> Config:
    """Return the configuration; its credentials are masked in texts from now on."""
    config = msgspec.msgpack.decode(data, type=Config, dec_hook=_typed)
    for provider in config.providers.values():
        pairs = provider.template.headers
        know(value for name, value in pairs if CREDENTIAL_HEADER.search(name))
    return config


def _plain(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    assert isinstance(value, Path)
    return str(value)


def _typed(kind: type, value: Any) -> object:
    if kind is Secret:
        know([value])
    return kind(value)
