"""What every test shares: the acceptance marker and its report, and an environment of its own."""

import os
import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester", "tests.acceptance_report"]

_OURS = re.compile(
    r"(?i)^(LLM_|TRUNKLINE_(?!RECORDINGS))|_API_KEY$|^OLLAMA_BASE_URL$|^HTTPS?_PROXY$"
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the test no provider, a data folder and a working folder of its own."""
    for name in os.environ:
        if _OURS.search(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRUNKLINE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
