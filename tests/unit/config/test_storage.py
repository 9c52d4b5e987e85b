"""`storage:`: a database for replicas, and how long calls are kept."""

from __future__ import annotations

import pytest
import yaml

from trunkline.config import from_mapping
from trunkline.errors import ConfigError
from trunkline.observability.redact import scrub

URL = "postgresql://trunk:pa55word-long@db.example.com:5432/line"


def test_without_a_word_it_is_a_file() -> None:
    """No database, nothing is deleted; the contract's nulls say the same."""
    for written in ("{}", "{storage: {}}", "{storage: {database_url: null, redis_url: null}}"):
        storage = from_mapping({"llm_service": yaml.safe_load(written)}).storage
        assert (storage.database_url, storage.redis_url, storage.keep_days) == (None, None, None)


def test_the_environment_may_say_it() -> None:
    """The file wins over TRUNKLINE_DATABASE_URL."""
    environ = {"TRUNKLINE_DATABASE_URL": URL}
    storage = from_mapping({}, environ).storage
    assert storage.database_url is not None
    assert storage.database_url.reveal() == URL
    other = from_mapping(
        {"llm_service": {"storage": {"database_url": "postgres://h/d", "keep_days": 30}}}, environ
    ).storage
    assert other.database_url is not None
    assert (other.database_url.reveal(), other.keep_days) == ("postgres://h/d", 30)


def test_a_password_is_never_shown() -> None:
    """Neither in an error nor in a log."""
    storage = from_mapping({}, {"TRUNKLINE_DATABASE_URL": URL}).storage
    assert "pa55word" not in f"{storage!r} {scrub(f'cannot reach {URL}')}"
    with pytest.raises(ConfigError) as caught:
        from_mapping({"llm_service": {"storage": {"database_url": "mysql://u:pa55word@h/d"}}})
    assert "storage.database_url" in str(caught.value)
    assert "postgresql://user:password@host" in str(caught.value)
    assert "pa55word" not in str(caught.value)


def test_valkey_stands_in_front_of_postgresql() -> None:
    """By the file or the environment; without a database it is refused."""
    url = "rediss://:pa55word-valkey@cache.example.com:6380/2"
    written = {"llm_service": {"storage": {"redis_url": url, "database_url": URL}}}
    environ = {"TRUNKLINE_REDIS_URL": url, "TRUNKLINE_DATABASE_URL": URL}
    for storage in (from_mapping(written).storage, from_mapping({}, environ).storage):
        assert storage.redis_url is not None
        assert storage.redis_url.reveal() == url
        assert "pa55word" not in f"{storage!r} {scrub(f'cannot reach {url}')}"
    for alone in ({"llm_service": {"storage": {"redis_url": url}}}, {}):
        with pytest.raises(ConfigError, match=r"database_url") as caught:
            from_mapping(alone, {} if alone else {"TRUNKLINE_REDIS_URL": url})
        assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://:pa55word@h/0", "redis://", "redis://h:port", "redis://h/x", "redis://h/0?retry=1"],
)
def test_what_is_no_plain_address_of_valkey_is_refused(url: str) -> None:
    """Options as well: the driver must not say anything twice."""
    said = {"llm_service": {"storage": {"redis_url": url, "database_url": URL}}}
    with pytest.raises(ConfigError, match=r"storage\.redis_url") as caught:
        from_mapping(said)
    assert "redis://:password@host:6379/0" in str(caught.value)
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize("said", [{"keep_days": 0}, {"keep_days": "x"}, {"url": "x"}])
def test_bad_values_are_refused(said: dict[str, object]) -> None:
    """With the path of the key."""
    with pytest.raises(ConfigError, match=r"storage"):
        from_mapping({"llm_service": {"storage": said}})
