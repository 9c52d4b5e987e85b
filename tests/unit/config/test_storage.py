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
        assert (storage.database_url, storage.keep_days) == (None, None)


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


@pytest.mark.parametrize("said", [{"keep_days": 0}, {"keep_days": "x"}, {"url": "x"}])
def test_bad_values_are_refused(said: dict[str, object]) -> None:
    """With the path of the key."""
    with pytest.raises(ConfigError, match=r"storage"):
        from_mapping({"llm_service": {"storage": said}})
