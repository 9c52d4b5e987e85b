"""Who may call: keys, kept as digests, and the two secrets a gateway makes for itself.

There is no unauthenticated mode. A key is looked up by its digest under a secret pepper, so how
long a look-up takes says nothing about any key.
"""

from __future__ import annotations

import copy
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from trunkline.config import Key
from trunkline.errors import ConfigError, Forbidden, Unauthorized
from trunkline.observability.redact import know

ADMIN = "admin"
_MOST_REMEMBERED = 1024
_SHORTEST_SECRET_BYTES = 32
_SHORTEST_ADMIN_KEY_CHARS = 16


class Holder(Struct, frozen=True):
    """Who shows a key."""

    name: str
    models: frozenset[str] = frozenset()
    """Names it may ask for; empty = any."""

    @property
    def admin(self) -> bool:
        """Whether it may do anything."""
        return self.name == ADMIN

    def check(self, model: str) -> None:
        """Raise `Forbidden` unless the holder may ask for `model`."""
        if self.models and model not in self.models:
            allowed = ", ".join(sorted(self.models))
            raise Forbidden(
                f"this key may not ask for {model[:99]!r}; it may ask for {allowed}", param="model"
            )


class KeyRing:
    """All keys of this gateway."""

    def __init__(self, secret: bytes, admin_key: str, keys: Iterable[Key]) -> None:
        # One secret, one derived key for each purpose (HKDF's expand step, RFC 5869).
        self._pepper = hmac.digest(secret, b"trunkline key digests\x01", "sha256")
        self._admin = self._digest(admin_key)
        self._hold(keys)

    def _hold(self, keys: Iterable[Key]) -> None:
        self._holders = {
            self._digest(key.secret.reveal()): Holder(key.name, frozenset(key.models))
            for key in keys
        }
        self._holders[self._admin] = Holder(ADMIN)  # last: no other key takes its place
        self._remembered: dict[str, Holder] = {}
        """By what `Authorization` says for the keys that were shown."""

    def renewed(self, keys: Iterable[Key]) -> KeyRing:
        """Return a ring with the same administrator and secret and with other keys."""
        ring = copy.copy(self)
        ring._hold(keys)
        return ring

    def holder(self, headers: Mapping[str, str]) -> Holder:
        """Return who shows a key in `Authorization: Bearer`, `x-api-key` or `api-key`.

        Raises:
            Unauthorized: nobody does.
        """
        said = headers.get("authorization", "")
        if (known := self._remembered.get(said)) is not None:
            return known
        scheme, _, token = said.partition(" ")
        shown = [token] if scheme.lower() == "bearer" else []
        shown += [headers.get("x-api-key", ""), headers.get("api-key", "")]
        for key in shown:
            if (holder := self._find(key.strip())) is not None:
                return holder
        if not any(shown):
            raise Unauthorized(
                "no API key was given; send 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
            )
        raise Unauthorized("the API key is not known here")

    def _find(self, key: str) -> Holder | None:
        said = f"Bearer {key}"
        holder = self._remembered.get(said)
        if holder is None and key and (holder := self._holders.get(self._digest(key))) is not None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[said] = holder
        return holder

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._pepper, key.encode(errors="surrogateescape"), "sha256")


def admin_key(environ: Mapping[str, str], data_dir: Path) -> tuple[str, bool]:
    """Return the administrator's key, and whether it was made just now.

    `TRUNKLINE_ADMIN_KEY`, else the file `admin.key` (0600), written at the first start.
    """
    given = environ.get("TRUNKLINE_ADMIN_KEY", "").strip()
    if given:
        if len(given) < _SHORTEST_ADMIN_KEY_CHARS or not given.isascii():
            raise ConfigError(
                f"TRUNKLINE_ADMIN_KEY: found {len(given)} characters; write at least "
                f"{_SHORTEST_ADMIN_KEY_CHARS}, of ASCII only"
            )
        know([given])
        return given, False
    fresh = "tl-admin-" + secrets.token_urlsafe(24)
    key, made = _kept(data_dir / "admin.key", fresh, _SHORTEST_ADMIN_KEY_CHARS)
    know([key])
    return key, made


def secret(environ: Mapping[str, str], data_dir: Path) -> bytes:
    """Return the secret from which peppers are derived: `TRUNKLINE_SECRET`, else a 0600 file."""
    given = environ.get("TRUNKLINE_SECRET", "").strip()
    if not given:
        given, _ = _kept(data_dir / "secret.key", secrets.token_hex(32), _SHORTEST_SECRET_BYTES)
    value = given.encode(errors="surrogateescape")
    if len(value) < _SHORTEST_SECRET_BYTES:
        raise ConfigError(
            f"TRUNKLINE_SECRET: found {len(value)} bytes; write at least {_SHORTEST_SECRET_BYTES}"
        )
    return value


def _kept(path: Path, fresh: str, least_chars: int) -> tuple[str, bool]:
    """Return what the file holds, writing `fresh` to it if there is none yet."""
    try:
        made = not path.exists() and _written_first(path, fresh)
        kept = path.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(
            f"cannot keep a key in {path}: {error}; make the folder writable, or set TRUNKLINE_DATA"
        ) from error
    if len(kept) < least_chars or not kept.isascii():
        raise ConfigError(f"{path}: found no key; remove the file to have one made")
    return kept, made


def _written_first(path: Path, content: str) -> bool:
    """Create the file, readable by its owner only; False if somebody else was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(fd, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(fd)
        os.link(draft, path)  # never half written, and the first of several at once wins
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True
