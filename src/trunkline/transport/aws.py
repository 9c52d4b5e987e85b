"""Keys of AWS: from the environment and the shared files, all else by botocore (extra `bedrock`).

Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html 2026-11-20
Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html 2026-11-20
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as FileError
from functools import cache, partial
from pathlib import Path
from typing import Any

from trunkline.errors import AuthFailed, ConnectFailed
from trunkline.observability.redact import scrub
from trunkline.transport.credentials import Token
from trunkline.transport.sigv4 import Keys, Scope, signed

_SERVICE = "bedrock"
_KEEP_S = 600.0
"""How long keys are used before they are looked for again. botocore renews those that end ten
minutes before, so what it gives holds as long."""
_IN_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_IN_FILES = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_FILES = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
)
"""The later counts for more."""


def fetch(place: str) -> Token:
    """Get keys for `REGION`, or for `REGION:PROFILE`.

    The order is that of AWS's own tools: the environment, unless a profile is named; then the
    profile in the shared files; then whatever botocore knows (roles, SSO, a process, containers,
    the machine itself). It blocks: call it in a thread.

    Raises:
        AuthFailed: there are no keys, or whoever gives them refused.
        ConnectFailed: whoever gives them could not be reached.
    """
    region, _, profile = place.partition(":")
    keys = None if profile else _keys(os.environ, _IN_ENVIRONMENT)
    if keys is None:
        keys = _in_files(profile or os.environ.get("AWS_PROFILE") or "default")
    if keys is None:
        keys = _by_botocore(profile)
    sign = partial(signed, keys=keys, scope=Scope(region, _SERVICE))
    return Token("", time.time() + _KEEP_S, sign, (keys.secret, keys.session))


def _keys(fields: Mapping[str, str], names: tuple[str, ...]) -> Keys | None:
    """Return the keys in `fields`, if both halves are there."""
    id_, secret, session = (fields.get(name) or "" for name in names)
    return Keys(id_, secret, session) if id_ and secret else None


def _in_files(profile: str) -> Keys | None:
    """Return the keys that stand in the shared files under this profile, unless it is a role."""
    said: dict[str, str] = {}
    for variable, usual in _FILES:
        file = ConfigParser(interpolation=None, strict=False)
        try:
            file.read(Path(os.environ.get(variable) or usual).expanduser(), "utf-8")
        except (FileError, OSError, RuntimeError, UnicodeDecodeError) as error:
            raise AuthFailed(
                f"no AWS keys: the file that {variable} names cannot be read "
                f"({type(error).__name__})",
                sent=False,
            ) from None
        for section in (f"profile {profile}", profile):
            if file.has_section(section):
                said |= file.items(section)
    return None if "role_arn" in said else _keys(said, _IN_FILES)


def _by_botocore(profile: str) -> Keys:
    try:
        from botocore import exceptions
    except ImportError:
        raise AuthFailed(
            "no AWS keys in the process's environment (.env does not count) or in the shared "
            "files; write api_key, or for roles, SSO, containers and machines of AWS: "
            "pip install 'trunkline[bedrock]'",
            sent=False,
        ) from None
    try:
        credentials = _session(profile).get_credentials()
        frozen = None if credentials is None else credentials.get_frozen_credentials()
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise ConnectFailed(f"no keys from AWS: {scrub(str(error), 500)}", sent=False) from None
    except (exceptions.BotoCoreError, exceptions.ClientError, OSError, ValueError) as error:
        raise AuthFailed(f"no keys from AWS: {scrub(str(error), 500)}", sent=False) from None
    if frozen is None:
        raise AuthFailed(
            "no AWS keys anywhere; write api_key or profile, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the process's environment (.env does not count)",
            sent=False,
        )
    return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")


@cache
def _session(profile: str) -> Any:
    """Return botocore's session, which keeps what it found and renews it in time."""
    import botocore.session

    return botocore.session.Session(profile=profile or None)
