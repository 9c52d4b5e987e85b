"""What is known of a provider of the user's own before it is asked."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from trunkline import Chat, LLMProvider, LLMRequest, LLMResponse, Trunkline, register_provider
from trunkline.config import Config, from_mapping
from trunkline.errors import CapabilityMissing, ConfigError
from trunkline.interfaces import ChatMessage, ChatResponse
from trunkline.types import Image, Message, Prompt, Tool, say

TOOL = Tool(name="f", parameters={"type": "object"})


class Words:
    """Takes words alone."""

    lacks = ("images",)

    async def chat(self, messages: list[ChatMessage], model: str | None = None) -> ChatResponse:
        return ChatResponse("words")

    async def stream_chat(self, messages: list[ChatMessage]) -> AsyncIterator[str]:
        yield "words"

    def count_tokens(self, text: str) -> int:
        return 1


class WithTools(Words):
    async def chat(  # type: ignore[override]
        self, messages: list[ChatMessage], **options: Any
    ) -> ChatResponse:
        return ChatResponse("words")

    async def stream_chat(
        self, messages: list[ChatMessage], tools: Any = None
    ) -> AsyncIterator[str]:
        yield "words"


class Whole(LLMProvider):
    lacks: Any = "images"

    async def generate(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse("whole")

    async def stream_generate(self, request: LLMRequest) -> AsyncIterator[LLMResponse]:
        yield LLMResponse("whole")

    def get_available_models(self) -> list[str]:
        return []

    async def health_check(self) -> bool:
        return True


def config(*names: str) -> Config:
    """Return a configuration that names providers, the first of them the default."""
    providers = {name: {"models": ["m"]} for name in names}
    section = {"providers": providers, "fallback_chain": [*names], "default_provider": names[0]}
    return from_mapping({"llm_service": section}, os.environ)


@pytest.mark.parametrize(
    ("provider", "lacks"),
    [(Words, {"images", "tools"}), (WithTools, {"images"}), (Whole, {"images"})],
)
def test_what_it_lacks_is_said_or_seen(provider: type, lacks: set[str]) -> None:
    """Said in `lacks`; tools also where a method has no parameter for them."""
    register_provider("mine", provider)
    assert config("mine").providers["mine"].template.lacks == lacks
    assert from_mapping({}, {}).providers["mine"].template.lacks == lacks


@pytest.mark.parametrize("said", ["tools!", ("tool",), [3]])
def test_a_word_that_nobody_knows_is_an_error(said: Any) -> None:
    """It names the provider, the word and the words there are."""
    register_provider("mine", type("Odd", (Whole,), {"lacks": said}))
    with pytest.raises(ConfigError, match=r"provider 'mine': its `lacks` has .*write any of tools"):
        config("mine")


async def test_a_call_goes_to_who_can_take_it() -> None:
    """Tools to the second of the chain; a picture, which neither takes, is refused."""
    register_provider("words", Words)
    register_provider("whole", Whole)
    line = Trunkline(config("words", "whole"))
    async with line:
        for tools, text in (((), "words"), ((TOOL,), "whole")):
            body = Prompt(messages=(say("user", "hi"),), tools=tools)
            async with await line(Chat(model="m", body=body)) as reply:
                assert (await reply.message()).text == text
        picture = Message(role="user", parts=(Image(url="https://a/b.png"),))
        with pytest.raises(CapabilityMissing):
            await line(Chat(model="m", body=Prompt(messages=(picture,))))
