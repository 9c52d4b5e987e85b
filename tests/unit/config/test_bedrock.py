"""AWS Bedrock: region, profile, and each way to prove who asks."""

from typing import Any

import pytest

from trunkline.config import Config, from_mapping
from trunkline.errors import ConfigError
from trunkline.types import Deployment, Secret


def config(entry: dict[str, Any], name: str = "bedrock", **environ: str) -> Config:
    """Read a configuration with one provider."""
    return from_mapping({"llm_service": {"providers": {name: entry}}}, environ, source="t.yaml")


def row(entry: dict[str, Any], **environ: str) -> Deployment:
    """Return what its deployments have in common."""
    return config(entry, **environ).providers["bedrock"].template


def refusal(entry: dict[str, Any], name: str = "bedrock", **environ: str) -> str:
    """Return why an entry is refused."""
    with pytest.raises(ConfigError) as caught:
        config(entry, name, **environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("us-gov-west-1", "bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_host_follows_from_the_region(region: str, host: str) -> None:
    """Without a key requests are signed for it."""
    found = row({"region": region})
    assert found.base_url == f"https://{host}"
    assert (found.dialect, found.credential, found.api_key) == ("bedrock", f"aws:{region}", None)


def test_the_environment_fills_in() -> None:
    """What the configuration says counts most, then the variables in AWS's order."""
    both = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}
    assert row({}, **both).credential == "aws:eu-west-1"
    assert row({}, AWS_DEFAULT_REGION="eu-west-2").credential == "aws:eu-west-2"
    assert row({"region": "us-east-1"}, **both).credential == "aws:us-east-1"


def test_a_key_takes_the_place_of_signatures() -> None:
    """Written or in the environment; a profile that is written counts for more than the latter."""
    token = {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-x"}
    for found in (
        row({"region": "us-east-1"}, **token),
        row({"region": "us-east-1", "api_key": "bedrock-api-key-x"}),
    ):
        assert (found.credential, found.api_key) == ("", Secret("bedrock-api-key-x"))
    assert row({"region": "us-east-1", "profile": "a"}, **token).credential == "aws:us-east-1:a"


def test_another_address_is_signed_for_too() -> None:
    """An endpoint in a private network, a proxy; with a key of its own it needs no region."""
    entry = {"base_url": "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com"}
    found = row(entry | {"region": "eu-west-1"}, AWS_BEARER_TOKEN_BEDROCK="bedrock-api-key-x")
    assert found.base_url == entry["base_url"]
    assert found.api_key == Secret("bedrock-api-key-x")  # it is a host of AWS
    proxy = {"base_url": "https://proxy.test/aws", "region": "eu-west-1"}
    found = row(proxy, AWS_BEARER_TOKEN_BEDROCK="bedrock-api-key-x")
    assert (found.credential, found.api_key) == ("aws:eu-west-1", None)
    assert row({"base_url": "https://proxy.test", "api_key": "proxy-key"}).credential == ""


def test_what_is_wrong_is_named() -> None:
    """The field, what was found, and what to write."""
    assert "nothing says which region answers" in refusal({})
    assert "nothing says which region" in refusal({"base_url": "https://proxy.test"})
    assert "region" in refusal({"region": "Frankfurt"})
    assert "AWS_REGION" in refusal({}, AWS_REGION="moon")
    both = {"region": "us-east-1", "profile": "a", "api_key": "bedrock-api-key-x"}
    assert "either api_key or profile" in refusal(both)
    assert "only a provider of type bedrock" in refusal(
        {"region": "us-east-1", "api_key": "sk-1"}, "openai"
    )


def test_litellms_form_says_the_same() -> None:
    """Its names for region and profile."""
    params = {
        "model": "bedrock/us.amazon.nova-2-lite-v1:0",
        "aws_region_name": "us-west-2",
        "aws_profile_name": "team",
    }
    entry = {"model_name": "fast", "litellm_params": params}
    found = from_mapping({"model_list": [entry]}, {}, source="t.yaml")
    [deployment] = found.groups["fast"].deployments
    assert deployment.model == "us.amazon.nova-2-lite-v1:0"
    assert deployment.credential == "aws:us-west-2:team"
