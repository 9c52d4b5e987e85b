"""What tests/unit promises of a database is run here once more, on servers: see `accounting/`,
`gateway/` and `storage/`, whose fixtures have the same names."""

import pytest

_SERVERS = {"postgres", "valkey"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of what comes from tests/unit, run only what asks a server."""
    items[:] = [item for item in items if not _taken_over(item) or _SERVERS & set(_fixtures(item))]


def _taken_over(item: pytest.Item) -> bool:
    test = getattr(item, "function", None)
    return "integration" in item.path.parts and test.__module__.startswith("tests.unit.")


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])
