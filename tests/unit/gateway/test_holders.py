"""What a key lets its holder do, and who pays."""

from typing import Any

import pytest
from msgspec.structs import replace

from trunkline.config import Key
from trunkline.errors import Forbidden, InputError
from trunkline.gateway.holders import ADMINISTRATOR, Holder, declared, made
from trunkline.storage.snapshot import Digest, StoredKey
from trunkline.types import Principal, Secret


def holder(**more: Any) -> Holder:
    """Return a member of the tenant acme."""
    return Holder(name="k", principal=Principal(key_id="key_1", tenant_id="acme"), **more)


def stored(**more: Any) -> StoredKey:
    """Return a key that was made at run time."""
    about: dict[str, Any] = {
        **dict.fromkeys(("user_id", "team_id", "tenant_id", "tier", "expires_ns")),
        **dict.fromkeys(("models", "may_act_for", "required_tags"), ()),
        "role": "member",
        "digests": (Digest(b"now", None), Digest(b"old", 50)),
    }
    return StoredKey(id="key_1", name="k", **{**about, **more})


def test_models_a_key_may_ask_for() -> None:
    """A list allows what is on it; none allows all."""
    ci = declared(Key(name="ci", secret=Secret("k" * 16), models=("m",)))
    ci.check("m")
    with pytest.raises(Forbidden, match="may not ask for 'n'; it may ask for m"):
        ci.check("n")
    ADMINISTRATOR.check("n")


def test_a_declared_key_has_all_that_a_made_one_has() -> None:
    """By its name instead of an id."""
    about: dict[str, Any] = {
        "user_id": "u", "team_id": "t", "tenant_id": "acme", "tier": "gold", "role": "viewer",
        "models": ("m",), "expires_ns": 40, "may_act_for": ("other",), "required_tags": ("a",),
    }  # fmt: skip
    found = declared(Key(name="ci", secret=Secret("k" * 16), **about))
    same = made([stored(**about)])[b"now"]
    assert found == replace(same, name="ci", principal=replace(same.principal, key_id="ci"))


def test_a_viewer_makes_no_calls() -> None:
    """Whatever the model."""
    with pytest.raises(Forbidden, match="viewer"):
        holder(role="viewer").check("m")


def test_who_pays() -> None:
    """The name of a declared key, the id of any other; user, team and tenant where it has them."""
    assert declared(Key(name="ci", secret=Secret("k" * 16))).principal == Principal(key_id="ci")
    key = stored(user_id="u", team_id="t", tenant_id="acme", tier="gold", role="admin")
    found = made([key])[b"now"]
    assert found.principal == Principal(key_id="key_1", user_id="u", team_id="t", tenant_id="acme")
    assert (found.id, found.name, found.tier, found.admin) == ("key_1", "k", "gold", True)


@pytest.mark.parametrize(
    ("expires_ns", "ends_ns"), [(None, (None, 50)), (40, (40, 40)), (60, (60, 50))]
)
def test_when_a_key_ends(expires_ns: int | None, ends_ns: tuple[int | None, ...]) -> None:
    """As a whole, and an old secret of it perhaps before."""
    found = made([stored(expires_ns=expires_ns)])
    assert (found[b"now"].expires_ns, found[b"old"].expires_ns) == ends_ns


@pytest.mark.parametrize(("tags", "good"), [
    (["team"], True), (["x", "team:red"], True),
    ([], False), (["teams"], False), (["x:team"], False),
])  # fmt: skip
def test_tags_that_a_key_demands(tags: list[str], good: bool) -> None:
    """The tag itself, or one that begins with it and a colon."""
    found = holder(required_tags=("team",))
    if good:
        found.check_tags(tags)
    else:
        with pytest.raises(InputError, match="need the tag 'team'") as caught:
            found.check_tags(tags)
        assert caught.value.param == "x-trunkline-tags"


def test_every_demanded_tag_counts() -> None:
    """One of two is not enough."""
    with pytest.raises(InputError, match="'b'"):
        holder(required_tags=("a", "b")).check_tags(["a:1"])


def test_calling_for_a_tenant() -> None:
    """The own one, those that the key may act for, with `*` and for the administrator any."""
    pays = Principal(key_id="key_1", tenant_id="other")
    assert holder().act_for("acme").tenant_id == "acme"
    assert holder(may_act_for=frozenset({"other"})).act_for("other") == pays
    assert holder(may_act_for=frozenset({"*"})).act_for("other") == pays
    assert ADMINISTRATOR.act_for("other").tenant_id == "other"
    with pytest.raises(Forbidden, match="may not act for the tenant 'other'"):
        holder(may_act_for=frozenset({"third"})).act_for("other")
