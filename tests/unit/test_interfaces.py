import dataclasses
import inspect
import json
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from trunkline import interfaces
from trunkline.errors import ConfigError, InputError
from trunkline.interfaces import (
    BaseLLMProvider,
    ChatMessage,
    ChatResponse,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    UserService,
    register_provider,
    registered,
)


class Whole(LLMProvider):
    """A provider by requests."""

    async def generate(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse("x")

    async def stream_generate(self, request: LLMRequest) -> AsyncIterator[LLMResponse]:
        yield LLMResponse("x")

    def get_available_models(self) -> list[str]:
        return ["m"]

    async def health_check(self) -> bool:
        return True


class Chatty:
    """A provider by messages."""

    async def chat(self, messages: list[ChatMessage], model: str | None = None) -> ChatResponse:
        return ChatResponse("x")

    async def stream_chat(
        self, messages: list[ChatMessage], model: str | None = None
    ) -> AsyncIterator[str]:
        yield "x"

    def count_tokens(self, text: str) -> int:
        return len(text)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "_registry", interfaces._Registry())


@pytest.mark.acceptance("A05")
def test_a_request_has_the_seeds_fields_and_defaults() -> None:
    """Field order and defaults are seed 003's; two requests never share their metadata."""
    assert [field.name for field in dataclasses.fields(LLMRequest)] == [
        *("messages", "model", "temperature", "max_tokens", "stream", "provider", "metadata")
    ]
    messages = [{"role": "user", "content": "hi"}]
    request = LLMRequest(messages, "gpt-4o")
    assert (request.temperature, request.max_tokens) == (0.7, 2000)
    assert request.stream is False
    assert request.provider is None
    assert request.metadata == {}
    assert request.metadata is not LLMRequest(messages, "gpt-4o").metadata


@pytest.mark.acceptance("A06", "X01")
def test_a_response_has_seed_003s_fields_in_its_order() -> None:
    """The five fields are positional in the seed's order; ours are keyword-only after them."""
    response = LLMResponse("hi", "gpt-4o", "openai", {"prompt_tokens": 1})
    assert response.metadata == {}
    assert response.metadata is not LLMResponse("", "", "", {}).metadata
    assert dataclasses.astuple(response)[:4] == ("hi", "gpt-4o", "openai", {"prompt_tokens": 1})
    fields = dataclasses.fields(LLMResponse)
    assert [field.name for field in fields if not field.kw_only] == [
        *("content", "model", "provider", "usage", "metadata")
    ]
    assert [field.name for field in fields if field.kw_only] == ["tool_calls", "thoughts"]


@pytest.mark.acceptance("K11", "X01")
def test_a_response_is_made_as_seeds_001_and_004_make_it() -> None:
    """Content and tool calls alone, by keyword, are enough, and both are attributes."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    response = LLMResponse(content="", tool_calls=[call])
    assert response.content == ""
    assert response.tool_calls == [call]
    assert LLMResponse(content="hello", tool_calls=[]).tool_calls == []
    assert LLMResponse(content="a").tool_calls is not LLMResponse(content="b").tool_calls


def test_a_chat_response_is_the_seeds_json() -> None:
    """`reply`, `model` and a usage of three counts, ready for JSON."""
    usage = {"prompt_tokens": 42, "completion_tokens": 128, "total_tokens": 170}
    response = ChatResponse(reply="...", model="gpt-4o", usage=usage)
    assert json.loads(json.dumps(dataclasses.asdict(response))) == {
        "reply": "...",
        "model": "gpt-4o",
        "usage": usage,
    }


def test_a_chat_message_takes_text_or_parts() -> None:
    """Role and content are positional; what only some roles have is by keyword."""
    parts = [{"type": "text", "text": "hi"}]
    assert ChatMessage("user", "hi").content == "hi"
    assert ChatMessage(role="user", content=parts).content == parts
    message = ChatMessage("tool", "42", tool_call_id="1")
    assert (message.tool_call_id, message.name, message.tool_calls) == ("1", None, None)
    with pytest.raises(TypeError):
        ChatMessage("user", "hi", "name")  # type: ignore[call-arg]


@pytest.mark.acceptance("A14")
@pytest.mark.parametrize("missing", interfaces.PROVIDER_METHODS)
def test_a_provider_lacking_a_method_cannot_be_made(missing: str) -> None:
    """Each of the four methods is abstract."""
    rest = {name: vars(Whole)[name] for name in interfaces.PROVIDER_METHODS if name != missing}
    half = type("Half", (LLMProvider,), rest)
    with pytest.raises(TypeError, match=missing):
        half()
    assert isinstance(Whole(), LLMProvider)


@pytest.mark.acceptance("T12")
@pytest.mark.parametrize("missing", interfaces.CHAT_METHODS)
def test_registering_a_chat_provider_that_lacks_a_method_names_it(missing: str) -> None:
    """The refusal names what is missing and everything that is required."""
    rest = {name: vars(Chatty)[name] for name in interfaces.CHAT_METHODS if name != missing}
    half = type("Half", (), rest)
    assert not isinstance(half(), BaseLLMProvider)
    for provider in (half, half(), partial(half)):
        with pytest.raises(InputError, match=f"lacks {missing};") as raised:
            register_provider("mine", provider)
        assert all(name in str(raised.value) for name in interfaces.CHAT_METHODS)
        assert raised.value.param == "provider"
    assert "mine" not in registered()


def test_registering_an_abstract_provider_names_what_it_lacks() -> None:
    """A subclass of LLMProvider is measured by LLMProvider's methods."""
    rest = {name: value for name, value in vars(Whole).items() if name != "health_check"}
    with pytest.raises(InputError, match="lacks health_check;"):
        register_provider("mine", type("Half", (LLMProvider,), rest))


@pytest.mark.parametrize("provider", [Whole, Whole(), partial(Whole), Chatty, Chatty()])
def test_a_provider_is_registered_as_instance_class_or_factory(provider: object) -> None:
    """Whatever was given, an instance comes out, the same one every time."""
    register_provider("mine", provider)
    made = registered()["mine"]
    assert isinstance(made, Whole | Chatty)
    assert registered()["mine"] is made


def test_registering_again_replaces() -> None:
    """The last one under a name is the one that answers."""
    register_provider("mine", Whole())
    last = Chatty()
    register_provider("mine", last)
    assert registered()["mine"] is last
    assert list(registered()) == ["mine"]


def test_a_class_that_needs_arguments_is_refused() -> None:
    """The message says to register an instance instead."""

    class Needy(Chatty):
        def __init__(self, key: str) -> None: ...

    with pytest.raises(InputError, match=r"key.*register an instance"):
        register_provider("mine", Needy)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "-a", " a", None, 3])
def test_a_name_that_models_could_not_say_is_refused(name: Any) -> None:
    """Names stand in `provider/model` and in `custom:NAME`."""
    with pytest.raises(InputError, match="cannot be a provider's name") as raised:
        register_provider(name, Whole())
    assert raised.value.param == "name"


def test_a_user_service_may_be_sync_or_async() -> None:
    """Two methods make a user service, however they are written."""

    class Sync:
        def require_allowance(self, user_id: str, basic_info: Any = None) -> None: ...
        def add_usage(self, user_id: str, cost: float, basic_info: Any = None) -> None: ...

    class Async:
        async def require_allowance(self, user_id: str, basic_info: Any = None) -> None: ...
        async def add_usage(self, user_id: str, cost: float, basic_info: Any = None) -> None: ...

    services: list[UserService] = [Sync(), Async()]
    assert all(isinstance(service, UserService) for service in services)
    assert not isinstance(object(), UserService)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a package with a good and a broken entry point."""
    code = inspect.getsource(Chatty)
    (tmp_path / "trunkline_plugin.py").write_text("from __future__ import annotations\n" + code)
    (tmp_path / "trunkline_broken.py").write_text("raise OSError('no licence file')")
    info = tmp_path / "trunkline_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trunkline-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[trunkline.providers]\nplugged = trunkline_plugin:Chatty\nbroken = trunkline_broken:X\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "plugged"


def test_an_installed_package_provides_by_entry_point(plugin: str) -> None:
    """Its provider is listed without being imported, made when looked up, and made once."""
    assert plugin in registered()
    assert "trunkline_plugin" not in sys.modules
    provider = registered()[plugin]
    assert isinstance(provider, BaseLLMProvider)
    assert registered()[plugin] is provider
    assert len(registered()) == 2


def test_a_broken_entry_point_hurts_only_whoever_asks_for_it(plugin: str) -> None:
    """The error names the entry point, its cause and what to do."""
    assert registered()[plugin]
    with pytest.raises(ConfigError, match=r"broken = trunkline_broken:X.*no licence file"):
        registered()["broken"]


def test_a_provider_named_here_wins_over_an_installed_one(plugin: str) -> None:
    """Code is nearer than metadata."""
    mine = Whole()
    register_provider(plugin, mine)
    assert registered()[plugin] is mine
