"""How models run in this process, as it is configured."""

from typing import Any

import pytest

from trunkline.config import from_mapping
from trunkline.errors import ConfigError


def backend(**fields: Any) -> str:
    """Return the backend of a provider with these keys."""
    providers = {"here": {"type": "transformers", "models": ["a/b"], **fields}}
    config = from_mapping({"llm_service": {"providers": providers}}, {})
    return config.providers["here"].template.backend


def test_place() -> None:
    """Nothing said is the best device, the model's own dtype, and no download."""
    assert backend() == "transformers:auto,auto,local\na/b"
    said = backend(device="cuda:1", dtype="bfloat16", download=True)
    assert said == "transformers:cuda:1,bfloat16,download\na/b"
    assert backend(models=["a/b", "c"]) == "transformers:auto,auto,local\na/b\nc"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device": "GPU,1"}, "device: found 'GPU,1'; write auto, cpu, cuda"),
        ({"dtype": "float 32"}, "dtype: found 'float 32'; write auto, float32"),
        ({"download": "yes"}, "download"),
        ({"api_key": "k"}, "needs no connection"),
        ({"models": []}, "list the models"),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], words: str) -> None:
    """The message names the key and what to write."""
    with pytest.raises(ConfigError) as raised:
        backend(**fields)
    assert words in str(raised.value)


def test_the_keys_are_its_own() -> None:
    """No other provider takes them."""
    with pytest.raises(ConfigError, match="only a provider of type transformers"):
        from_mapping({"llm_service": {"providers": {"ollama": {"device": "cpu"}}}}, {})
