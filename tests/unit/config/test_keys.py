"""`keys:`: what a declared key lets its holder do."""

import datetime
from typing import Any

import pytest

from trunkline.config import Config, Key, from_mapping
from trunkline.errors import ConfigError

NOON_NS = 1_795_176_000 * 10**9


def configured(*keys: dict[str, Any]) -> Config:
    """Return a configuration of these keys."""
    named = [{"name": f"k{n}", "key": "k" * 16, **key} for n, key in enumerate(keys)]
    return from_mapping({"llm_service": {"keys": named}}, {"TIER": "gold"})


def declared(**fields: Any) -> Key:
    """Return the only key."""
    (key,) = configured(fields).keys
    return key


def test_all_that_a_key_may_say() -> None:
    """Who pays, what it may do and until when; a variable is filled in."""
    key = declared(
        user="u", team="t", tenant="acme", tier="${TIER}", role="viewer", models=["m"],
        expires_at="2026-11-20T12:00:00Z", may_act_for=["other"], required_tags=["a", "b"],
    )  # fmt: skip
    assert (key.user_id, key.team_id, key.tenant_id, key.tier) == ("u", "t", "acme", "gold")
    assert (key.role, key.models, key.expires_ns) == ("viewer", ("m",), NOON_NS)
    assert (key.may_act_for, key.required_tags) == (("other",), ("a", "b"))


def test_what_a_key_is_that_says_nothing() -> None:
    """A member of nothing, for ever."""
    key = declared()
    assert (key.user_id, key.team_id, key.tenant_id, key.tier) == (None,) * 4
    assert (key.role, key.expires_ns) == ("member", None)
    assert (key.models, key.may_act_for, key.required_tags) == ((), (), ())


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-20T13:00:00+01:00",
        "2026-11-20T12:00:00",
        datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC).replace(tzinfo=None),
        datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC),
        NOON_NS // 10**9,
    ],
)
def test_when_it_ends(moment: object) -> None:
    """As text, as YAML reads a time, and in seconds; UTC where there is no zone."""
    assert declared(expires_at=moment).expires_ns == NOON_NS


def test_a_date_is_its_midnight() -> None:
    """Written or read by YAML."""
    for date in ("2026-11-20", datetime.date(2026, 11, 20)):
        assert declared(expires_at=date).expires_ns == NOON_NS - 12 * 3600 * 10**9


def test_all_tenants() -> None:
    """A star stands for them."""
    assert declared(may_act_for="*").may_act_for == ("*",)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("role", "root", "write one of viewer, member, admin"),
        ("expires_at", "soon", "found 'soon'; write a time before 2262"),
        ("expires_at", True, "found True; write a time"),
        ("expires_at", "2999-01-01", "write a time before 2262"),
        ("may_act_for", "other", "write a list"),
        ("required_tags", ["a,b"], "write one tag, without a comma"),
        ("tenant", 7, "write text"),
        ("user", "u" * 257, "write at most 256 characters"),
        ("name", "admin", "no other key has"),
        ("key", "short", "at least 16 characters"),
        ("usr", "u", "did you mean 'user'"),
    ],
)
def test_what_cannot_be(field: str, value: object, said: str) -> None:
    """The error names the key and says what to write."""
    with pytest.raises(ConfigError, match=rf"keys\[0\]\.{field}.*: .*{said}"):
        declared(**{field: value})


def test_names_are_told_apart() -> None:
    """Two keys of one name would be one payer."""
    with pytest.raises(ConfigError, match=r"keys\[1\]\.name: found 'k0'; write a name"):
        configured({}, {"name": "k0"})
