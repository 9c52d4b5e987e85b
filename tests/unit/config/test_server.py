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


@pytest.mark.parametrize("count", [0, -1, 257, 1.5, "many"])
def test_workers_that_cannot_be(count: object) -> None:
    """Refused by name, with what stands there."""
    with pytest.raises(ConfigError, match=rf"server\.workers: found .*{count}"):
        workers(count)
