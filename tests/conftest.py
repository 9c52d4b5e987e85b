"""What every test shares: the acceptance marker and its report, and an environment of its own."""

import gc
import os
import re
from pathlib import Path

import pytest

from tests import examples
from trunkline.interfaces import registered
from trunkline.observability import redact

pytest_plugins = [
    "pytester",
    "tests.acceptance_report",
    "tests.no_skips",
    "tests.server_fixtures",
]

examples.register()

os.environ["TRUNKLINE_DISCOVERY"] = "off"  # whatever serves models on this machine is not asked

_OURS = re.compile(
    r"(?i)^(LLM_|OLLAMA_|TRUNKLINE_(?!RECORDINGS|DISCOVERY))|_API_KEY$|_BASE_URL$|_API_TOKEN$"
    r"|^(HTTPS?|ALL|NO)_PROXY$"
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the test no provider, a data folder and a working folder of its own."""
    for name in os.environ:
        if _OURS.search(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRUNKLINE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registered(), "given", {})
    monkeypatch.setattr(redact, "_known", type(redact._known)())


def pytest_collection_finish() -> None:
    """Keep what collection has made out of the looks for garbage, of which tests take many."""
    gc.collect()
    gc.freeze()
