"""One provider: its keys, addresses, models, prices and limits, and each way to get them wrong."""

from pathlib import Path
from typing import Any

import pytest

from trunkline.accounting.price import cost
from trunkline.config import Provider, from_mapping
from trunkline.errors import ConfigError
from trunkline.observability.redact import scrub
from trunkline.types import Cost, Secret, Usage


def one(entry: dict[str, Any] | None, name: str = "ollama", **environ: str) -> Provider:
    """Return the only provider of a configuration."""
    config = from_mapping({"llm_service": {"providers": {name: entry}}}, environ, source="t.yaml")
    return config.providers[name]


def refusal(entry: Any, name: str = "ollama") -> str:
    """Return why an entry is refused."""
    with pytest.raises(ConfigError) as caught:
        one(entry, name)
    return str(caught.value)


def test_buckets() -> None:
    """Their names, for those who read any; none unless they are listed."""
    assert one({"api_key": "AIza1"}, "gemini").template.buckets == ()
    listed = one({"api_key": "AIza1", "buckets": ["a", "b.c"]}, "gemini")
    assert listed.deployment("m").buckets == ("a", "b.c")
    assert "only bedrock, gemini and vertex" in refusal({"buckets": ["a"]})
    said = refusal({"api_key": "AIza1", "buckets": ["gs://a"]}, "gemini")
    assert "buckets[0]: found 'gs://a'; write the name of a bucket" in said


@pytest.mark.parametrize(
    ("name", "given", "used"),
    [
        ("ollama", "http://localhost:11434", "http://localhost:11434/v1"),
        ("ollama", "http://localhost:11434/", "http://localhost:11434/v1"),
        ("ollama", "http://localhost:11434/v1/", "http://localhost:11434/v1"),
        ("ollama", "https://h/proxy/ollama", "https://h/proxy/ollama"),
        ("openai", "http://[::1]:9", "http://[::1]:9/v1"),
        ("gemini", "http://h", "http://h/v1beta"),
        ("deepseek", "http://h", "http://h"),
        ("groq", "http://h:80", "http://h:80/openai/v1"),
    ],
)
def test_address_without_a_path_gets_the_usual_one(name: str, given: str, used: str) -> None:
    """With or without `/v1`, the same server is meant; another path is taken as it is."""
    assert one({"base_url": given}, name).template.base_url == used


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http://h:99999",
        "http://h:x",
        "http://u:p@h/v1",
        "http://h/v1?key=1",
        "http://h/v1#x",
        "http://a b/v1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """With an example of one."""
    message = refusal({"base_url": url})
    assert "t.yaml: llm_service.providers.ollama.base_url: found" in message
    assert "http://localhost:8000/v1" in message


def test_a_key_for_litellm_is_for_the_vendors_of_its_models() -> None:
    """Callers name litellm's vendors: without models, a key might go to any of them."""
    listed = {"api_key": "k" * 8, "models": ["replicate/meta/llama-4", "replicate/x"]}
    assert one(listed, "litellm").template.backend == "litellm:replicate"
    assert one({}, "litellm").template.backend == "litellm"
    assert "with api_key, list the models as well" in refusal({"api_key": "k" * 8}, "litellm")


def test_other_names_need_a_type() -> None:
    """The type defaults to the provider's own name, and may be any row of the catalog."""
    entry = {"type": "openai_compatible", "base_url": "http://localhost:8000/v1", "models": ["l"]}
    provider = one(entry, "my-vllm")
    assert (provider.name, provider.type, provider.models) == (
        "my-vllm",
        "openai_compatible",
        ("l",),
    )
    assert "did you mean 'ollama'" in refusal({}, "olama")
    assert "type: found 'gpt'; no provider type" in refusal({"type": "gpt"}, "mine")
    assert "nothing says where 'openai_compatible' is" in refusal({}, "openai_compatible")
    assert "cannot be a name" in refusal({"type": "ollama"}, "a/b")


def test_key_comes_from_the_entry_a_file_or_the_environment(tmp_path: Path) -> None:
    """In that order; it is masked wherever it might show up from then on."""
    (tmp_path / "key").write_text("key-from-a-file\n")

    def key(**entry: str) -> str:
        found = one(entry, "openai", OPENAI_API_KEY="key-from-environment").template.api_key
        assert found is not None
        return found.reveal()

    assert key() == "key-from-environment"
    assert key(api_key="key-as-written") == "key-as-written"
    assert key(api_key="${NONE:-}") == "key-from-environment"
    assert key(api_key_file=str(tmp_path / "key")) == "key-from-a-file"
    assert scrub("key-from-a-file, key-as-written, key-from-environment") == "***, ***, ***"


def test_key_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    """A relative path means the same wherever the program was started."""
    (tmp_path / "secret").write_text("key-from-a-file")
    data = {"llm_service": {"providers": {"openai": {"api_key_file": "secret"}}}}
    config = from_mapping(data, {}, source=str(tmp_path / "trunkline.yaml"))
    assert config.providers["openai"].template.api_key is not None


def test_bad_keys_are_refused_without_showing_them(tmp_path: Path) -> None:
    """A wrong type, a line end, a second key, a file that is empty or not there."""
    (tmp_path / "empty").write_text("\n")
    messages = [
        refusal({"api_key": 8675309}, "openai"),
        refusal({"api_key": "8675309 8675309"}, "openai"),
        refusal({"api_key": "8675309ä"}, "openai"),
        refusal({"api_key": "$KEY_8675309"}, "openai"),
        refusal({"api_key": "8675309", "api_key_file": "x"}, "openai"),
        refusal({"api_key_file": str(tmp_path / "none")}, "openai"),
        refusal({"api_key_file": str(tmp_path / "empty")}, "openai"),
    ]
    assert all("llm_service.providers.openai.api_key" in message for message in messages)
    assert not any("8675309" in message for message in messages)
    assert "FileNotFoundError" in messages[-2]


def test_a_key_is_needed_only_where_the_provider_itself_answers() -> None:
    """A proxy or a double in its place may do without."""
    assert one({"base_url": "http://localhost:1"}, "openai").template.api_key is None
    assert "OPENAI_API_KEY is not set" in refusal({}, "openai")
    assert "OPENAI_API_KEY is not set" in refusal({"base_url": "https://api.openai.com"}, "openai")
    assert "GEMINI_API_KEY or GOOGLE_API_KEY is not set" in refusal({}, "gemini")


def test_price_of_the_configuration_wins() -> None:
    """US dollars per million tokens become int nano-dollars, exactly as they were written."""
    provider = one(
        {
            "api_key": "key",
            "models": [
                {"name": "gpt-4o", "price": {"input": 0.15, "output": "0.60", "cache_read": 0}},
                {"name": "gpt-4o-mini"},
                "gpt-4",
            ],
        },
        "openai",
    )
    price = provider.deployment("gpt-4o").price
    assert provider.models == ("gpt-4o", "gpt-4o-mini", "gpt-4")
    assert price is not None
    assert (price.input_nusd, price.output_nusd, price.cache_read_nusd) == (
        150_000_000,
        600_000_000,
        0,
    )
    assert price.snapshot == "configuration"


def test_a_price_may_have_fees_long_prompts_and_service_tiers() -> None:
    """Fees are per use, and as in the whole where a part does not say them."""
    long: dict[str, Any] = {"tokens": 200_000, "input": 2, "output": 4, "web_search": 0}
    flex = {"input": 0.5, "output": 1, "request": "0.002", "above": [long | {"input": 1}]}
    said = {"input": 1, "output": 2, "web_search": 0.01, "above": [long], "flex": flex}
    price = one({"models": [{"name": "m", "price": said}]}).deployment("m").price
    assert price is not None
    assert (price.input_nusd, price.request_nusd) == (10**9, 0)
    assert price.web_search_nusd == 10**7 * 10**6
    ((threshold, dear),) = price.tiers
    assert (threshold, dear.input_nusd, dear.web_search_nusd) == (200_000, 2 * 10**9, 0)
    ((name, cheap),) = price.service_tiers
    assert (name, cheap.input_nusd, cheap.request_nusd) == ("flex", 5 * 10**8, 2 * 10**12)
    assert cheap.web_search_nusd == price.web_search_nusd
    assert cheap.tiers[0][1].input_nusd == 10**9


def test_what_is_local_is_free_in_every_service_tier() -> None:
    """A server of one's own may echo what it was asked."""
    price = one({}).deployment("llama3").price
    for tier in ("", "flex", "priority"):
        used = Usage(prompt_tokens=9, service_tier=tier, web_search_requests=1)
        assert cost(used, price) == Cost(0)


def test_price_else_comes_from_the_data_or_is_unknown() -> None:
    """Local models cost nothing; what nobody knows has no price, which is not 0."""
    openai = one({"api_key": "key"}, "openai").deployment("gpt-4o").price
    assert openai is not None
    assert openai.input_nusd > 0
    local = one({}).deployment("llama3").price
    assert local is not None
    assert local.input_nusd == 0
    assert one({"base_url": "http://h"}, "openai_compatible").deployment("gpt-4o").price is None


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"input": 1}, "for both, as in {input: 0.15, output: 0.60}"),
        ({"input": -1, "output": 1}, "price.input: found -1; write an amount in US dollars"),
        ({"input": "free", "output": 1}, "price.input: found 'free'; write an amount"),
        ({"input": float("nan"), "output": 1}, "price.input: found nan; write an amount"),
        ({"input": True, "output": 1}, "price.input: found True; write an amount"),
        ({"input": "1e400", "output": 1}, "price.input: found '1e400'; write an amount"),
        ({"input": "0.0000000001", "output": 1}, "at most nine decimal places"),
        ({"input": 1, "output": 1, "inptu": 2}, "price.inptu: unknown key; did you mean 'input'"),
        (3, "price: found 3; write a mapping"),
        ({"input": 1, "output": 1, "request": -1}, "price.request: found -1; write an amount"),
        ({"input": 1, "output": 1, "web_search": "0.0000000001"}, "at most nine decimal places"),
        ({"input": 1, "output": 1, "flex": {"input": 1}}, "price.flex: found a mapping; write US"),
        ({"input": 1, "output": 1, "flex": 0.5}, "price.flex: found 0.5; write a mapping"),
        ({"input": 1, "output": 1, "flx": {}}, "price.flx: unknown key; did you mean 'flex'"),
        (
            {"input": 1, "output": 1, "flex": {"input": 1, "output": 1, "batch": {}}},
            "price.flex.batch: unknown key",
        ),
        ({"input": 1, "output": 1, "above": {}}, "price.above: found a mapping; write a list"),
        (
            {"input": 1, "output": 1, "above": [{"input": 1, "output": 1}]},
            "price.above[0]: found a mapping; write above how many prompt tokens it holds",
        ),
        (
            {"input": 1, "output": 1, "above": [{"tokens": 200_000, "input": 1}]},
            "price.above[0]: found a mapping; write US dollars",
        ),
        (
            {"input": 1, "output": 1, "above": [{"tokens": 9, "input": 1, "output": 1}] * 2},
            "price.above[1].tokens: found 9; write more than the 9 before it",
        ),
    ],
)
def test_bad_prices_are_refused(price: Any, message: str) -> None:
    """Money is exact or not at all."""
    assert message in refusal({"models": [{"name": "m", "price": price}]})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"timeout": "soon"}, "timeout: found 'soon'; write a number of seconds above 0"),
        ({"timeout": 0}, "timeout: found 0; write"),
        ({"timeout": True}, "timeout: found True; write"),
        ({"timeout": float("inf")}, "timeout: found inf; write"),
        ({"idle_timeout": [1]}, "idle_timeout: found a list; write"),
        ({"timeot": 1}, "timeot: unknown key; did you mean 'timeout'"),
        ({"region": "x"}, "region: found 'x'; remove it: only a provider of type bedrock"),
        ({"retries": 1.5}, "retries: found 1.5; write a whole number, 0 or more"),
        ({"max_parallel": 0}, "max_parallel: found 0; write a whole number, 1 or more"),
        ({"rate_limits": {"rpm": 1}}, "rate_limits.rpm: unknown key"),
        ({"rate_limits": 60}, "rate_limits: found 60; write a mapping"),
        ({"models": "m"}, "models: found 'm'; write a list"),
        ({"models": ["m", 4.5]}, "models[1]: found 4.5; write a mapping"),
        ({"models": ["m", "m"]}, "models[1]: found 'm'; 'm' stands twice"),
        ({"models": [{"price": {"input": 1, "output": 1}}]}, "models[0]: found a mapping; write"),
        ({"headers": {"x y": "1"}}, "cannot be an HTTP header"),
        ({"headers": {"x": "1\r\ny: 2"}}, "cannot be an HTTP header"),
        ("fast", "providers.ollama: found 'fast'; write a mapping"),
    ],
)
def test_bad_entries_are_refused(entry: Any, message: str) -> None:
    """Each with the file, the path of its key, what stands there and what to write."""
    text = refusal(entry)
    assert text.startswith("t.yaml: llm_service.providers.ollama")
    assert message in text


def test_limits_and_headers_reach_every_deployment() -> None:
    """A number may be text, because a variable always is."""
    provider = one(
        {
            "timeout": "${SECONDS}",
            "first_token_timeout": 3,
            "idle_timeout": 4.5,
            "connect_timeout": 0.5,
            "max_parallel": 8,
            "retries": 0,
            "headers": {"x-team": "blue ${TEAM}", "authorization": "token-in-a-header"},
        },
        SECONDS="30",
        TEAM="one",
    )
    row = provider.deployment("m")
    limits = row.limits
    assert (limits.timeout_s, limits.first_token_timeout_s) == (30, 3)
    assert (limits.idle_timeout_s, limits.connect_timeout_s, limits.max_parallel) == (4.5, 0.5, 8)
    assert row.retries == 0
    assert row.headers[0] == ("x-team", "blue one")
    assert scrub("token-in-a-header") == "***"


def test_error_shows_the_reference_and_not_its_value() -> None:
    """What a variable holds may be a secret, wherever it was put by mistake."""
    with pytest.raises(ConfigError) as caught:
        one({"base_url": "${KEY}"}, KEY="correct-horse-battery")
    assert "${KEY}" in str(caught.value)
    assert "horse" not in str(caught.value)


def test_the_environments_key_never_goes_to_another_host() -> None:
    """A key variable is for the provider itself; another address is sent only what it was given."""
    environ = {"OPENAI_API_KEY": "sk-secret-123456"}

    def key(provider: dict[str, object]) -> Secret | None:
        data = {"llm_service": {"providers": {"p": provider}}}
        return from_mapping(data, environ).providers["p"].template.api_key

    elsewhere = "https://models.example.com/v1"
    assert key({"type": "openai_compatible", "base_url": elsewhere}) is None
    assert key({"type": "openai", "base_url": elsewhere}) is None
    assert key({"type": "openai", "base_url": elsewhere, "api_key": "sk-own-123"}) is not None
    assert key({"type": "openai"}) == Secret("sk-secret-123456")
    assert key({"type": "openai", "base_url": "https://api.openai.com/v1"}) is not None
