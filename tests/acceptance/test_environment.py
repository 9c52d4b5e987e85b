"""Seed 002: the provider is chosen by the environment, and nothing else changes."""

from pathlib import Path

import pytest

from trunkline import (
    ChatMessage,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    LLMService,
    errors,
    register_provider,
)
from trunkline.testing import FakeUpstream

HI = [ChatMessage(role="user", content="hi")]


class Parrot(LLMProvider):
    """A provider of our own."""

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Repeat what was said."""
        return LLMResponse(content="Hello.", model="parrot-1")

    async def stream_generate(self, request: LLMRequest):  # type: ignore[no-untyped-def]
        """Repeat it in pieces."""
        for piece in ("Hel", "lo."):
            yield LLMResponse(content=piece)

    def get_available_models(self) -> list[str]:
        """Just the one."""
        return ["parrot-1"]

    async def health_check(self) -> bool:
        """Parrots are always well."""
        return True


def choose(monkeypatch: pytest.MonkeyPatch, provider: str, up: FakeUpstream) -> None:
    """Set the environment as a reader of the seed would."""
    monkeypatch.setenv("LLM_PROVIDER", provider)
    monkeypatch.setenv("LLM_DEFAULT_MODEL", "some-model")
    for name in ("LLM_BASE_URL", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(name, f"{up.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-123456")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-123456")


@pytest.mark.acceptance("T01")
@pytest.mark.parametrize("provider", ["openai", "anthropic", "openai_compatible", "parrot"])
async def test_the_same_code_under_three_environments(
    provider: str, monkeypatch: pytest.MonkeyPatch, up: FakeUpstream
) -> None:
    """Only LLM_PROVIDER differs; whole and streamed answers are the same."""
    register_provider("parrot", Parrot)
    choose(monkeypatch, provider, up)
    service = LLMService()
    assert (await service.chat(HI)).reply == "Hello."
    assert "".join([text async for text in await service.chat(HI, stream=True)]) == "Hello."
    assert bool(up.requests) == (provider != "parrot")
    await service.line.close()


@pytest.mark.acceptance("T02")
@pytest.mark.parametrize("provider", ["openai", "anthropic", "openai_compatible", "parrot"])
def test_known_providers_are_taken_from_environment_or_dotenv(
    provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """LLM_PROVIDER names the default provider, from the process's environment or from `.env`."""
    register_provider("parrot", Parrot)
    (tmp_path / ".env").write_text(
        f"LLM_PROVIDER={provider}\nOPENAI_API_KEY=sk-123456\nANTHROPIC_API_KEY=sk-ant-123456\n"
        "LLM_BASE_URL=http://localhost:1/v1\n"
    )
    assert LLMService().line.config.default_provider == provider
    monkeypatch.setenv("LLM_PROVIDER", "openai")
    assert LLMService().line.config.default_provider == "openai"


@pytest.mark.acceptance("T02")
def test_an_unknown_provider_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what was found and what there is."""
    monkeypatch.setenv("LLM_PROVIDER", "opnai")
    with pytest.raises(errors.ConfigError, match=r"(?s)LLM_PROVIDER.*opnai.*openai"):
        LLMService()


@pytest.mark.acceptance("T02", "T03")
async def test_any_model_passes_and_the_key_is_used(
    monkeypatch: pytest.MonkeyPatch, up: FakeUpstream
) -> None:
    """A model nobody listed goes to the provider; None means LLM_DEFAULT_MODEL."""
    choose(monkeypatch, "openai", up)
    service = LLMService()
    await service.chat(HI, model="gpt-99-from-the-future")
    await service.chat(HI, model=None)
    assert [r.json()["model"] for r in up.requests] == ["gpt-99-from-the-future", "some-model"]
    assert {r.headers["authorization"] for r in up.requests} == {"Bearer sk-openai-123456"}
    await service.line.close()


@pytest.mark.acceptance("T03")
async def test_the_anthropic_key_goes_to_anthropic(
    monkeypatch: pytest.MonkeyPatch, up: FakeUpstream
) -> None:
    """Each provider is sent its own key and no other."""
    choose(monkeypatch, "anthropic", up)
    service = LLMService()
    await service.chat(HI)
    [request] = up.requests
    sent = " ".join(request.headers.values())
    assert "sk-ant-123456" in sent
    assert "sk-openai" not in sent
    assert request.json()["model"] == "some-model"
    await service.line.close()


@pytest.mark.acceptance("T07")
@pytest.mark.parametrize("suffix", ["/v1", "/v1/", ""])
async def test_openai_compatible_with_a_base_url(
    suffix: str, monkeypatch: pytest.MonkeyPatch, up: FakeUpstream
) -> None:
    """LLM_BASE_URL works with and without /v1, and any non-empty key will do."""
    choose(monkeypatch, "openai_compatible", up)
    monkeypatch.setenv("LLM_BASE_URL", up.url + suffix)
    monkeypatch.setenv("OPENAI_API_KEY", "ollama")
    service = LLMService()
    assert (await service.chat(HI, model="llama3.2")).reply == "Hello."
    [request] = up.requests
    assert request.path == "/v1/chat/completions"
    await service.line.close()


@pytest.mark.acceptance("T07")
def test_openai_compatible_without_a_base_url_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the variable that is missing."""
    monkeypatch.setenv("LLM_PROVIDER", "openai_compatible")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    with pytest.raises(errors.ConfigError, match="LLM_BASE_URL"):
        LLMService()


async def test_a_provider_of_ones_own_needs_no_model_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLM_PROVIDER alone is enough, as the seed says."""
    register_provider("parrot", Parrot)
    monkeypatch.setenv("LLM_PROVIDER", "parrot")
    service = LLMService()
    assert (await service.chat(HI)).reply == "Hello."
    await service.line.close()
