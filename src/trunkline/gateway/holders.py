"""Who shows a key, and what that lets him do."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from trunkline.config import Key
from trunkline.config.model import Role
from trunkline.errors import Forbidden, InputError
from trunkline.storage.snapshot import StoredKey
from trunkline.types import Principal

ADMIN = "admin"
_ALL = "*"


class Holder(Struct, frozen=True, kw_only=True):
    """Who shows a key."""

    name: str
    principal: Principal
    """Who pays; `key_id` is the name of a declared key, the id of any other."""
    role: Role = "member"
    tier: str | None = None
    models: frozenset[str] = frozenset()
    """Names it may ask for; empty = any."""
    expires_ns: int | None = None
    """The first moment at which the key is good no more, in nanoseconds since the epoch."""
    may_act_for: frozenset[str] = frozenset()
    """Tenants besides its own for whom it may call; `*` = all."""
    required_tags: tuple[str, ...] = ()
    """Each of its calls must have each of these, or one that begins with it and a colon."""

    @property
    def id(self) -> str:
        """What its calls are on record by."""
        return self.principal.key_id or ""

    @property
    def admin(self) -> bool:
        """Whether it may do anything."""
        return self.role == "admin"

    def check(self, model: str) -> None:
        """Raise `Forbidden` unless the holder may ask for `model`."""
        if self.role == "viewer":
            raise Forbidden("this key has the role viewer: it may look, but make no calls")
        if self.models and model not in self.models:
            allowed = ", ".join(sorted(self.models))
            raise Forbidden(
                f"this key may not ask for {model[:99]!r}; it may ask for {allowed}", param="model"
            )

    def check_tags(self, tags: Iterable[str]) -> None:
        """Raise `InputError` unless `tags` has all that the key demands."""
        for wanted in self.required_tags:
            if not any(tag == wanted or tag.startswith(f"{wanted}:") for tag in tags):
                raise InputError(
                    f"x-trunkline-tags: calls with this key need the tag {wanted!r}; write it, or "
                    f"one that begins with '{wanted}:'",
                    param="x-trunkline-tags",
                )

    def act_for(self, tenant_id: str) -> Principal:
        """Return who pays when the call is made for a tenant.

        Raises:
            Forbidden: it is not the holder's own, nor one that it may act for.
        """
        if tenant_id == self.principal.tenant_id:
            return self.principal
        if not self.admin and not {_ALL, tenant_id} & self.may_act_for:
            raise Forbidden(
                f"this key may not act for the tenant {tenant_id[:99]!r}", param="tenant_id"
            )
        return replace(self.principal, tenant_id=tenant_id)


ADMINISTRATOR = Holder(name=ADMIN, principal=Principal(key_id=ADMIN), role="admin")


def declared(key: Key) -> Holder:
    """Return who shows a key of the configuration."""
    return _holder(key, key.name, key.expires_ns)


def made(keys: Iterable[StoredKey]) -> dict[bytes, Holder]:
    """Return who shows the keys that were made at run time, by digest."""
    return {
        digest: _holder(key, key.id, _first(key.expires_ns, end_ns))
        for key in keys
        for digest, end_ns in key.digests
    }


def _first(*ends_ns: int | None) -> int | None:
    return min((end_ns for end_ns in ends_ns if end_ns is not None), default=None)


def _holder(key: Key | StoredKey, id_: str, expires_ns: int | None) -> Holder:
    return Holder(
        name=key.name,
        principal=Principal(
            key_id=id_, user_id=key.user_id, team_id=key.team_id, tenant_id=key.tenant_id
        ),
        role=key.role,
        tier=key.tier,
        models=frozenset(key.models),
        expires_ns=expires_ns,
        may_act_for=frozenset(key.may_act_for),
        required_tags=key.required_tags,
    )
