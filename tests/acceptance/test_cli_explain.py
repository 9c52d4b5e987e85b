"""`trunkline explain`, with no gateway; `tests/integration/test_explain.py` has it with one."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trunkline.cli import main

CONFIGURATION = """\
llm_service:
  providers:
    openai:
      api_key: sk-test-1234567890
      base_url: http://127.0.0.1:1
      models: [{name: house-model, price: {input: 0.15, output: 2.5}}, unpriced]
    ollama:
      base_url: http://127.0.0.1:1
  groups:
    fast: {deployments: [ollama/qwen3]}
    cheap: {strategy: cost, deployments: [openai/unpriced, openai/house-model], fallbacks: [fast]}
"""


@pytest.fixture(autouse=True)
def _configured() -> None:
    """Two groups."""
    Path("trunkline.yaml").write_text(CONFIGURATION)


def explain(*args: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["explain", *args], catch_exceptions=False)


def test_it_tells_where_a_call_would_go() -> None:
    """In order, with scores and reasons; what is not known is null."""
    found = json.loads(explain("cheap", "--json").stdout)
    assert (found["model"], found["group"], found["strategy"]) == ("cheap", "cheap", "cost")
    first, second, third = found["candidates"]
    assert first["deployment"] == "openai/house-model"
    assert first["score"] > 0
    assert (second["deployment"], second["score"]) == ("openai/unpriced", None)
    assert (third["deployment"], third["note"]) == ("ollama/qwen3", "group fast instead of cheap")
    assert found["skipped"] == []


def test_it_tells_so_in_words() -> None:
    """As a table, in the same order."""
    lines = explain("cheap").stdout.splitlines()
    assert lines[0] == "group cheap, by cost"
    assert re.search(r"openai/unpriced +0 +unknown +price not known, number 2 of 2$", lines[4])
    assert lines[5].endswith("(group fast instead of cheap)")


def test_a_name_that_nobody_has() -> None:
    """The error of the call itself."""
    result = explain("house")
    assert result.exit_code == 1
    assert "house-model" in result.stderr
