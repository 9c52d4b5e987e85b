"""Who may call: keys, kept as digests, and the two secrets a gateway makes for itself.

There is no unauthenticated mode. A key is looked up by its digest under a secret pepper, so how
long a look-up takes says nothing about any key.
"""

from __future__ import annotations

import copy
import datetime
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from trunkline.clock import Clock, SystemClock
from trunkline.config import Key
from trunkline.errors import ConfigError, Unauthorized
from trunkline.gateway.holders import ADMINISTRATOR, Holder, declared
from trunkline.observability.redact import know

_MOST_REMEMBERED = 1024
_SHORTEST_SECRET_BYTES = 32
_SHORTEST_ADMIN_KEY_CHARS = 16


class KeyRing:
    """All keys of this gateway: the administrator's, the declared ones, those made at run time."""

    def __init__(
        self, secret: bytes, admin_key: str, keys: Iterable[Key], clock: Clock | None = None
    ) -> None:
        self._digest = digester(secret)
        self._admin = self._digest(admin_key)
        self._clock = clock or SystemClock()
        self._made: Mapping[bytes, Holder] = {}
        self._hold(keys)

    def _hold(self, keys: Iterable[Key]) -> None:
        self._holders = {self._digest(key.secret.reveal()): declared(key) for key in keys}
        self._holders[self._admin] = ADMINISTRATOR  # last: no other key takes its place
        self._remembered: dict[str, Holder] = {}
        """By what `Authorization` says for the keys that were shown."""

    def renewed(self, keys: Iterable[Key]) -> KeyRing:
        """Return a ring with the same administrator, secret and made keys, and other declared."""
        ring = copy.copy(self)
        ring._hold(keys)
        return ring

    def follow(self, made: Mapping[bytes, Holder]) -> None:
        """Take the keys that were made at run time, by their digests, for those taken before."""
        self._made = made
        self._remembered = {}

    def holder(self, headers: Mapping[str, str]) -> Holder:
        """Return who shows a key in `Authorization: Bearer`, `x-api-key` or `api-key`.

        Raises:
            Unauthorized: nobody does, or only one whose key has expired.
        """
        said = headers.get("authorization", "")
        known = self._remembered.get(said)
        if known is not None and not self._over(known):
            return known
        scheme, _, token = said.partition(" ")
        shown = [token] if scheme.lower() == "bearer" else []
        shown += [headers.get("x-api-key", ""), headers.get("api-key", "")]
        why = "the API key is not known here, or was revoked"
        for key in shown:
            if (holder := self._find(key.strip())) is not None:
                if not self._over(holder):
                    return holder
                why = f"the API key was good until {_moment(holder)}; ask for a new one"
        if not any(shown):
            why = "no API key was given; send 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
        raise Unauthorized(why)

    def _over(self, holder: Holder) -> bool:
        return holder.expires_ns is not None and self._clock.now_ns() >= holder.expires_ns

    def _find(self, key: str) -> Holder | None:
        said = f"Bearer {key}"
        holder = self._remembered.get(said)
        if holder is None and key:
            digest = self._digest(key)
            holder = self._holders.get(digest) or self._made.get(digest)
            if holder is not None:
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[said] = holder
        return holder


def _moment(holder: Holder) -> str:
    at_s = (holder.expires_ns or 0) // 1_000_000_000
    at = datetime.datetime.fromtimestamp(at_s, tz=datetime.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def digester(secret: bytes) -> Callable[[str], bytes]:
    """Return what makes the digest that a key is known by, under a pepper derived from `secret`."""
    # One secret, one derived key for each purpose (HKDF's expand step, RFC 5869).
    pepper = hmac.digest(secret, b"trunkline key digests\x01", "sha256")
    return lambda key: hmac.digest(pepper, key.encode(errors="surrogateescape"), "sha256")


def admin_key(environ: Mapping[str, str], data_dir: Path, *, make: bool = True) -> tuple[str, bool]:
    """Return the administrator's key, and whether it was made just now.

    `TRUNKLINE_ADMIN_KEY`, else the file `admin.key` (0600), written at the first start.

    Raises:
        ConfigError: there is none and `make` is false, or it cannot be one, be read or be kept.
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
    path = data_dir / "admin.key"
    if not make and not path.exists():
        raise ConfigError(
            "the gateway's key is not known here; set TRUNKLINE_ADMIN_KEY as the gateway has it"
        )
    fresh = "tl-admin-" + secrets.token_urlsafe(24)
    key, made = _kept(path, fresh, _SHORTEST_ADMIN_KEY_CHARS)
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
