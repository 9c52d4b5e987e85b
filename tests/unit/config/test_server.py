"""`server:`: how many workers there may be."""

import pytest

from trunkline.config import from_mapping
from trunkline.errors import ConfigError


def workers(count: object) -> int:
    """Return the workers of a configuration."""
    return from_mapping({"llm_service": {"server": {"workers": count}}}, {}).server.workers


def test_workers() -> None:
    """One unless it says more."""
    assert (workers(None), workers(1), workers(256)) == (1, 1, 256)


def test_what_providers_hold() -> None:
    """Nobody may name it unless the operator says that there is one tenant."""
    for said, meant in ((None, "refuse"), ("allow", "allow")):
        data = {"llm_service": {"server": {"stored_state": said}}}
        assert from_mapping(data, {}).server.stored_state == meant
    with pytest.raises(ConfigError, match=r"server\.stored_state: .*write one of refuse, allow"):
        from_mapping({"llm_service": {"server": {"stored_state": "maybe"}}}, {})


@pytest.mark.parametrize("count", [0, -1, 257, 1.5, "many"])
def test_workers_that_cannot_be(count: object) -> None:
    """Refused by name, with what stands there."""
    with pytest.raises(ConfigError, match=rf"server\.workers: found .*{count}"):
        workers(count)
