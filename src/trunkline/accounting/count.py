"""How many tokens a prompt has, where nobody is asked who knows."""

from __future__ import annotations

from msgspec.json import encode

from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Prompt,
    Text,
    Thinking,
    ToolCall,
)

_CHARS_PER_TOKEN = 4
_TOKENS_PER_OTHER_CHAR = 0.8
"""Of a character outside ASCII; one of Chinese is about a token."""
_TOKENS_PER_MESSAGE = 4
_TOKENS_AROUND_TOOLS = 40
_TOKENS_PER_MEDIUM = 1600


def estimated_tokens(prompt: Prompt) -> int:
    """Estimate the tokens of a prompt.

    The numbers above were chosen so that the median is right over 607 recorded requests of ten
    providers. A single one may be off by a half: templates differ by hundreds of tokens where there
    are tools.

    Raises:
        InputError: the request cannot be read.
    """
    tokens = _TOKENS_PER_MESSAGE * (len(prompt.messages) + 1)
    words: list[str] = []
    for part in prompt.parts():
        if isinstance(part, Image | Audio | File):
            tokens += _TOKENS_PER_MEDIUM
        else:
            words.append(_words_of(part))
    if prompt.tools:
        tokens += _TOKENS_AROUND_TOOLS
        words.append(encode([(t.name, t.description, t.parameters) for t in prompt.tools]).decode())
    if prompt.output_format is not None and prompt.output_format.schema is not None:
        words.append(encode(prompt.output_format.schema).decode())
    text = "".join(words)
    others = 0 if text.isascii() else sum(char > "\x7f" for char in text)
    return tokens + round((len(text) - others) / _CHARS_PER_TOKEN + others * _TOKENS_PER_OTHER_CHAR)


def _words_of(part: AnyPart) -> str:
    if isinstance(part, ToolCall):
        return part.name + part.arguments
    return part.text if isinstance(part, Text | Thinking) else ""
