"""Estimates of a prompt's tokens."""

from typing import Any

import pytest

from trunkline.accounting.count import estimated_tokens
from trunkline.types import (
    Image,
    Message,
    OutputFormat,
    Prompt,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

WORDS = "abcd" * 100


def tokens(*parts: Any, **more: Any) -> int:
    """Estimate a prompt of one message, without what messages cost by themselves."""
    prompt = Prompt(messages=(Message(role="user", parts=parts),), **more)
    return estimated_tokens(prompt) - estimated_tokens(Prompt(messages=(say("user", ""),)))


def test_english() -> None:
    """Four characters are about a token; a short question is within a few tokens of the truth."""
    asked = Prompt(messages=(say("user", "What is the capital of France?"),))
    assert abs(estimated_tokens(asked) - 14) <= 3  # what Anthropic counts
    assert tokens(Text(text=WORDS)) == 100


def test_other_scripts() -> None:
    """Their characters are dearer."""
    assert tokens(Text(text="\u4f60\u597d" * 50)) == 80


PARTS = [
    (Thinking(text=WORDS), 100),
    (Refusal(text=WORDS), 0),
    (ToolCall(id="c", name="abcd", arguments=WORDS), 101),
    (ToolResult(id="c", parts=(Text(text=WORDS),)), 100),
    (Image(url="https://x.test/a.png"), 1600),
    (ToolResult(id="c", parts=(Image(data="QQ=="),)), 1600),
]


@pytest.mark.parametrize(("part", "expected"), PARTS)
def test_parts(part: Any, expected: int) -> None:
    """All that is sent counts, inside results too; media at a flat number."""
    assert tokens(part) == expected


def test_tools_and_schemas() -> None:
    """They are read as well."""
    tool = Tool(name="f", description=WORDS)
    assert 140 <= tokens(tools=(tool,)) <= 150
    assert tokens(output_format=OutputFormat(schema={"title": WORDS})) >= 100
    assert tokens(output_format=OutputFormat()) == 0
