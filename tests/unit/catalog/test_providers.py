"""The provider rows: they read, they hang together, and one more is data alone."""

import pytest
from msgspec import ValidationError

from trunkline.catalog import parse, row, rows
from trunkline.dialects.openai_chat import QUIRKS

PROMISED = {
    "openai", "anthropic", "gemini", "openai_compatible", "ollama", "lmstudio", "localai", "vllm",
    "llamacpp", "demo", "groq", "mistral", "deepseek", "xai", "openrouter", "together",
    "fireworks", "cerebras", "perplexity", "vertex", "litellm", "transformers",
    "azure_openai", "bedrock", "moonshot", "zai",
    "cohere", "sambanova", "nvidia", "vercel", "huggingface", "github", "databricks",
}  # fmt: skip


def test_every_promised_provider_has_a_row() -> None:
    """The order is the one in which a default is looked for: the best known first, demo last."""
    assert set(rows()) == PROMISED
    assert list(rows())[:3] == ["openai", "anthropic", "gemini"]
    assert list(rows())[-1] == "demo"


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_row_hangs_together(name: str) -> None:
    """It says where the provider is, how to prove who asks, and where that was read."""
    found = rows()[name]
    if found.backend == "http":
        assert found.base_url.startswith("http://localhost:" if found.local else "https://") or (
            found.path.startswith("/") and found.url_variable
        )
        assert not found.base_url.endswith("/")
        assert found.key_variables
        assert found.source.startswith("https://")
    else:
        assert (found.base_url, found.key_variables) == ("", ())
    assert found.checked.year >= 2026


def test_every_quirk_is_known_to_its_dialect() -> None:
    """A name with a typo would change nothing."""
    of_dialects = {"openai_chat": QUIRKS.keys(), "gemini": {"vertex"}, "anthropic": set()}
    of_dialects["ollama"] = {"max_tokens", "last_message_open"}  # of its compatible API
    for found in rows().values():
        assert found.quirks <= of_dialects.get(found.dialect, set()), found.name


def test_no_name_means_two_providers() -> None:
    """Names that other tools use lead to one row each, and never hide a row."""
    names = [name for found in rows().values() for name in (found.name, *found.also)]
    assert len(names) == len(set(names))


def test_row_is_found_under_other_tools_names() -> None:
    """Google's provider is also known by two older names."""
    assert row("google") is row("palm") is row("gemini")
    assert row("nobody") is None


def test_a_new_provider_is_one_table() -> None:
    """An OpenAI-compatible provider needs no Python."""
    text = """
    [newcomer]
    base_url = "https://api.newcomer.example/openai/v2"
    key_variables = ["NEWCOMER_API_KEY"]
    limits = { timeout_s = 30.0 }
    source = "https://docs.newcomer.example"
    checked = 2026-11-20
    """
    newcomer = parse(text)["newcomer"]
    assert newcomer.dialect == "openai_chat"
    assert newcomer.usual_path == "/openai/v2"
    assert newcomer.limits.timeout_s == 30
    assert newcomer.limits.idle_timeout_s == rows()["openai"].limits.idle_timeout_s


def test_a_typo_in_a_row_is_an_error() -> None:
    """A field nobody reads must not look as if it had an effect."""
    with pytest.raises(ValidationError, match="base_ulr"):
        parse('[x]\nbase_ulr = "https://x"\nsource = "https://x"\nchecked = 2026-11-20')
