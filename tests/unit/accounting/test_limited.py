"""Who has which limits: the most specific one of each kind, and all kinds together."""

import pytest

from trunkline.accounting.limited import KeyRates, Limited
from trunkline.types import Principal, RateLimit

ANN = Principal(key_id="k1", user_id="ann", team_id="red", tenant_id="acme")


def rpm(scope: str, limit: int) -> RateLimit:
    """Make a limit."""
    return RateLimit(scope=scope, requests_per_minute=limit)


def test_all_kinds_apply() -> None:
    """Everybody's, the key's, the user's, the team's and the tenant's."""
    scopes = ("global", "key:k1", "user:ann", "team:red", "tenant:acme")
    rates = [rpm(scope, 5) for scope in scopes]
    assert Limited([*rates, rpm("user:bob", 1), rpm("tenant:other", 1)]).of(ANN) == tuple(rates)


def test_each_has_one_of_its_own() -> None:
    """`user:*` is a limit for every user, not one for all of them."""
    limited = Limited([rpm("user:*", 5)])
    assert limited.of(ANN) == (rpm("user:ann", 5),)
    assert limited.of(Principal(user_id="bob")) == (rpm("user:bob", 5),)
    assert limited.of(Principal(key_id="k1")) == ()


def test_a_name_counts_instead_of_each() -> None:
    """An exception may be larger or smaller."""
    limited = Limited([rpm("user:*", 5), rpm("user:ann", 50)])
    assert limited.of(ANN) == (rpm("user:ann", 50),)


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        (KeyRates("k1"), 5),
        (KeyRates("k1", "no such tier"), 5),
        (KeyRates("k1", "free"), 2),
        (KeyRates("k1", "free", requests_per_minute=9), 9),
    ],
)
def test_a_keys_own_limit_before_its_tiers(key: KeyRates, limit: int) -> None:
    """And its tier's before that of each key; each key of a tier has a bucket of its own."""
    limited = Limited([rpm("key:*", 5), rpm("tier:free", 2)], [key])
    assert limited.of(ANN) == (rpm("key:k1", limit),)


def test_a_limit_by_name_before_the_tiers() -> None:
    """What the configuration says of a key by name is its own."""
    limited = Limited([rpm("tier:free", 2), rpm("key:k1", 7)], [KeyRates("k1", "free")])
    assert limited.of(ANN) == (rpm("key:k1", 7),)


def test_without_limits_nobody_asks() -> None:
    """Not even where keys have tiers that are no limits."""
    assert not Limited((), [KeyRates("k1", "gold")]).any
    assert Limited([rpm("global", 1)]).any
