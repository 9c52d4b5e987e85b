"""Azure OpenAI: the resource's address, versions of its API, deployments, keys and tokens."""

import datetime
from typing import Any

import pytest

from trunkline.catalog.prices import lookup
from trunkline.config import Config, Provider, from_mapping
from trunkline.dialects.openai_chat import encode
from trunkline.errors import ConfigError
from trunkline.types import Chat, Prompt, say

HOST = "https://res.openai.azure.com"
KEY = {"api_key": "0123456789abcdef", "base_url": HOST}


def config(entry: dict[str, Any], **environ: str) -> Config:
    """Read a configuration with one provider."""
    data = {"llm_service": {"providers": {"azure": entry}}}
    return from_mapping(data, environ, source="t.yaml")


def one(entry: dict[str, Any], **environ: str) -> Provider:
    """Return its provider."""
    return config(entry, **environ).providers["azure"]


def url(provider: Provider, model: str = "gpt-4o") -> str:
    """Return where a chat goes."""
    chat = Chat(model=model, body=Prompt(messages=(say("user", "Hi"),)))
    return encode(chat, provider.deployment(model)).url


@pytest.mark.parametrize("tail", ["", "/", "/openai", "/openai/", "/openai/v1", "/openai/v1/"])
def test_the_address_of_a_resource_in_any_form(tail: str) -> None:
    """Without a version the current API is asked; with one, the dated one, by its path."""
    entry = KEY | {"base_url": HOST + tail}
    assert url(one(entry)) == f"{HOST}/openai/v1/chat/completions"
    preview = one(entry | {"api_version": "preview"})
    assert url(preview) == f"{HOST}/openai/v1/chat/completions?api-version=preview"
    dated = one(entry | {"api_version": "2024-10-21"})
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    assert url(dated) == HOST + path


def test_a_version_may_be_a_date_of_yaml_or_a_variable() -> None:
    """What the configuration says counts more."""
    entry = KEY | {"api_version": datetime.date(2024, 10, 21)}
    assert url(one(entry, OPENAI_API_VERSION="2023-05-15")).endswith("=2024-10-21")
    assert url(one(KEY, OPENAI_API_VERSION="2023-05-15")).endswith("=2023-05-15")


def test_behind_a_proxy_and_at_foundry() -> None:
    """The path of a proxy stays; other models than OpenAI's are dated and have no deployments."""
    assert (
        url(one(KEY | {"base_url": "http://h/azure"}))
        == "http://h/azure/openai/v1/chat/completions"
    )
    foundry = one(KEY | {"base_url": "https://res.services.ai.azure.com/models"})
    where = "https://res.services.ai.azure.com/models/chat/completions"
    assert url(foundry) == f"{where}?api-version=2024-05-01-preview"


def test_deployments_are_asked_and_models_are_priced() -> None:
    """The name of the account goes on the wire, ours decides price, names and quirks."""
    provider = one(KEY | {"deployments": {"gpt-4o": "my 4o"}, "models": ["gpt-4.1"]})
    assert provider.models == ("gpt-4.1", "gpt-4o")
    row = provider.deployment("gpt-4o")
    assert (row.name, row.wire_model) == ("azure/gpt-4o", "my 4o")
    assert row.price == lookup("azure_openai", "gpt-4o")
    assert row.price is not None
    assert b'"model":"my 4o"' in encode(Chat(model="x", body=Prompt(messages=())), row).body
    dated = one(KEY | {"deployments": {"gpt-4o": "my 4o"}, "api_version": "2024-10-21"})
    assert "/deployments/my%204o/" in url(dated)


def test_keys_and_tokens() -> None:
    """A key has its own header; a token of Entra ID is a bearer. The environment's stay at home."""
    chat = Chat(model="m", body=Prompt(messages=()))

    def proof(provider: Provider) -> dict[str, str]:
        headers = encode(chat, provider.deployment("m")).headers
        return {name: headers[name] for name in ("api-key", "authorization") if name in headers}

    assert proof(one(KEY)) == {"api-key": "0123456789abcdef"}
    token = KEY | {"api_key": "eyJ0eXAi.eyJhdWQi.c2ln"}
    assert proof(one(token)) == {"authorization": "Bearer eyJ0eXAi.eyJhdWQi.c2ln"}
    environ = {"AZURE_OPENAI_API_KEY": "fedcba9876543210"}
    assert proof(one({"base_url": HOST}, **environ)) == {"api-key": "fedcba9876543210"}
    assert proof(one({"base_url": "http://h"}, **environ)) == {}
    assert proof(one({"base_url": "https://azure.com.evil.example"}, **environ)) == {}


def test_the_environment_is_enough() -> None:
    """Under the names of its own tools; a key without an address disables, with the name."""
    environ = {"AZURE_OPENAI_API_KEY": "fedcba9876543210"}
    both = from_mapping({}, environ | {"AZURE_OPENAI_ENDPOINT": HOST})
    assert url(both.providers["azure_openai"]) == f"{HOST}/openai/v1/chat/completions"
    data = {"llm_service": {"providers": {"azure": {}, "ollama": {}}, "default_provider": "ollama"}}
    found = from_mapping(data, environ)
    assert found.disabled == {"azure": "AZURE_OPENAI_ENDPOINT is not set"}
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT is not set"):
        from_mapping({}, environ)


def test_the_responses_api_is_of_the_current_api() -> None:
    """Models that need it are asked there by themselves, but not at a dated version."""
    assert one(KEY).dialect("gpt-5", None) == "openai_responses"
    dated = one(KEY | {"api_version": "2024-10-21"})
    assert dated.dialect("gpt-5", "openai_responses") == "openai_chat"
    chosen = one(KEY | {"api_version": "2025-04-01-preview", "api": "responses"})
    assert chosen.dialect("gpt-5", None) == "openai_responses"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"api_version": "latest-ish"}, "azure.api_version: found 'latest-ish'; write a version"),
        (
            {"base_url": f"{HOST}/openai/deployments/x/chat/completions"},
            "azure.base_url: found .*write the address of the resource",
        ),
        ({"deployments": ["gpt-4o"]}, "azure.deployments: found a list; write a mapping"),
        ({"project": "p"}, "only a provider of type vertex takes it"),
    ],
)
def test_what_cannot_be_is_refused(entry: dict[str, Any], message: str) -> None:
    """With the path of the key."""
    with pytest.raises(ConfigError, match=message):
        one(KEY | entry)


def test_other_types_take_none_of_its_keys() -> None:
    """A version would have no effect there."""
    data = {"llm_service": {"providers": {"openai": {"api_key": "k", "api_version": "2024-10-21"}}}}
    with pytest.raises(ConfigError, match="only a provider of type azure_openai takes it"):
        from_mapping(data, {})


def test_litellms_words_for_it() -> None:
    """`azure/NAME` names a deployment."""
    params = {"model": "azure/my-4o", "api_base": HOST, "api_key": "k", "api_version": "2024-10-21"}
    data = {"model_list": [{"model_name": "m", "litellm_params": params}]}
    [row] = from_mapping(data, {}).groups["m"].deployments
    chat = Chat(model="m", body=Prompt(messages=()))
    assert encode(chat, row).url.startswith(f"{HOST}/openai/deployments/my-4o/chat/completions?")


@pytest.mark.parametrize("variable", ["GITHUB_TOKEN", "HF_TOKEN", "DATABRICKS_TOKEN"])
def test_a_shared_variable_configures_nothing_alone(variable: str) -> None:
    """It is there for other ends; named, the provider takes it."""
    environ = {variable: "secret-of-many-things"}
    assert list(from_mapping({}, environ).providers) == ["demo"]
    name = {"GITHUB_TOKEN": "github", "HF_TOKEN": "huggingface", "DATABRICKS_TOKEN": "databricks"}
    where = {"DATABRICKS_HOST": "https://x.cloud.databricks.com"}
    chosen = from_mapping({}, environ | where | {"LLM_PROVIDER": name[variable]})
    assert chosen.providers[name[variable]].template.api_key is not None
