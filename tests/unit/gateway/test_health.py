"""What workers saw of deployments becomes rows for people."""

from typing import Any

import pytest

from trunkline.config import Config, from_mapping
from trunkline.gateway.health import deployments, providers
from trunkline.gateway.seen import Seen
from trunkline.transport.probes import Probe

NOW_NS = 1_800_000_000_000_000_000
OK = Probe(ok=True, latency_ms=4.2, at_ns=NOW_NS, why="answered 200")
BAD = Probe(ok=False, latency_ms=4.2, at_ns=NOW_NS, why="answered 503")


@pytest.fixture
def config() -> Config:
    """A provider that lists models, one in this process, and one that lacks its key."""
    providers = {
        "vllm": {"base_url": "http://h/v1", "models": [{"name": "a", "rate_limits": {
            "requests_per_minute": 5}}, "b"], "max_parallel": 4},
        "demo": {},
        "openai": {"api_key": "${NO_SUCH_KEY}"},
    }  # fmt: skip
    groups = {"g": {"deployments": ["vllm/b", "vllm/c"]}}
    root = {"default_provider": "demo", "providers": providers, "groups": groups}
    return from_mapping({"llm_service": root}, {})


RESTING = Seen(state="resting", cause="upstream_failed", heard_ns=NOW_NS)
WELL = Seen(heard_ns=NOW_NS)


@pytest.mark.parametrize(
    ("news", "probe", "status", "why"),
    [
        ({}, None, "unknown", "not asked yet"),
        ({}, OK, "ok", "answered 200"),
        ({}, BAD, "down", "answered 503"),
        ({"vllm/a": WELL}, BAD, "ok", "it answered calls lately"),
        ({"vllm/a": Seen(heard_ns=NOW_NS, failing=True)}, BAD, "down", "answered 503"),
        ({"vllm/a": Seen(heard_ns=NOW_NS - 31 * 10**9)}, BAD, "down", "answered 503"),
        ({"vllm/a": RESTING}, OK, "resting", "upstream_failed"),
        ({"vllm/a": RESTING, "vllm/b": WELL}, OK, "ok", "it answered calls lately"),
        ({"vllm/a": Seen(state="disabled", cause="c")}, OK, "disabled", "c"),
        ({"vllm2/a": RESTING}, OK, "ok", "answered 200"),
    ],
)  # fmt: skip
def test_how_a_provider_is(
    config: Config, news: dict[str, Seen], probe: Probe | None, status: str, why: str
) -> None:
    """Calls tell more than probes, and probes more than nothing."""
    rows = providers(config, news, {"vllm": probe} if probe else {}, NOW_NS)
    row = {row["id"]: row for row in rows}["vllm"]
    assert (row["status"], row["why"]) == (status, why)
    told: Any = row["probe"]
    assert (told and told["ok"]) == (probe and probe.ok)


def test_providers_that_nobody_asks(config: Config) -> None:
    """One in this process is there; one that lacks something says what."""
    rows = {row["id"]: row for row in providers(config, {}, {}, NOW_NS)}
    assert list(rows) == ["vllm", "demo", "openai"]
    assert (rows["demo"]["status"], rows["demo"]["type"]) == ("ok", "demo")
    assert rows["openai"]["status"] == "disabled"
    assert "NO_SUCH_KEY" in rows["openai"]["why"]


def test_deployments(config: Config) -> None:
    """Those of groups and lists, and those that were asked; of removed providers none."""
    late = Seen(first_token_s=0.2501, late_s=1.0, heard_ns=NOW_NS, busy=1, slots=2)
    news = {"vllm/a": RESTING, "vllm/x": late, "gone/m": WELL}
    rows = {row["id"]: row for row in deployments(config, news)}
    assert sorted(rows) == ["vllm/a", "vllm/b", "vllm/c", "vllm/x"]
    assert [rows[f"vllm/{name}"]["status"] for name in "abx"] == ["resting", "unknown", "ok"]
    assert rows["vllm/a"]["circuit"] == {
        "state": "resting",
        "cause": "upstream_failed",
        "until": None,
    }
    assert rows["vllm/a"]["limits"]["rates"] == {
        "deployment:vllm/a": {"requests_per_minute": 5, "tokens_per_minute": None}
    }
    found = rows["vllm/x"]
    assert (found["first_token_ms"], found["first_token_p95_ms"], found["busy"]) == (251, 1000, 1)
    assert found["limits"] == {"max_parallel": 4, "slots": 2, "rates": {}}
    assert found["heard_at"] == "2027-01-15T08:00:00.000Z"


def test_what_groups_say_of_a_deployment() -> None:
    """Its bounds are those of all groups that have it, besides those of its provider."""
    entry = {"model": "ollama/m", "max_parallel_requests": 3, "rpm": 60}
    listed = [
        {"model_name": "a", "litellm_params": {"model": "ollama/m"}},
        {"model_name": "b", "litellm_params": entry},
    ]
    groups = {"g": {"deployments": [{"model": "ollama/m", "rate_limits": {
        "tokens_per_minute": 9}}]}}  # fmt: skip
    config = from_mapping({"model_list": listed, "llm_service": {"groups": groups}}, {})
    (row,) = deployments(config, {})
    assert row["limits"]["max_parallel"] == 3
    assert row["limits"]["rates"] == {
        "deployment:ollama/m@b": {"requests_per_minute": 60, "tokens_per_minute": None},
        "deployment:ollama/m@g": {"requests_per_minute": None, "tokens_per_minute": 9},
    }
