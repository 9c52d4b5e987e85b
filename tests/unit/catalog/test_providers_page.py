"""The page of what each provider takes is what the catalog says."""

import re

import pytest

from tools import providers_page
from trunkline.catalog import rows


@pytest.mark.acceptance("A26")
def test_the_page_is_current() -> None:
    """Whoever changes a row runs `make providers`; each provider has its line."""
    page = providers_page.OUTPUT.read_text("utf-8")
    assert page == providers_page.page()
    assert re.findall(r"(?m)^\| `(\w+)`", page) == list(rows())


def test_what_a_line_says() -> None:
    """What no model takes is "no"; the rest is left to the model."""
    lines = {
        line.split("`")[1]: line for line in providers_page.page().split("\n") if "| `" in line
    }
    cells = [cell.strip() for cell in lines["perplexity"].split("|")]
    assert cells[2:8] == ["OpenAI Chat Completions", "no", "by model", "no", "by model", "no"]
    assert cells[9:12] == ["no", "estimated", "yes"]
    assert "Anthropic Messages for `claude-*`" in lines["vertex"]
    assert "| 0 |" in lines["ollama"]
