"""Vertex AI: host, project, location, and each way to prove who asks."""

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.config import Config, from_mapping
from trunkline.errors import ConfigError
from trunkline.types import Deployment


def config(entry: dict[str, Any], name: str = "vertex", **environ: str) -> Config:
    """Read a configuration with one provider."""
    return from_mapping({"llm_service": {"providers": {name: entry}}}, environ, source="t.yaml")


def row(entry: dict[str, Any], **environ: str) -> Deployment:
    """Return what its deployments have in common."""
    return config(entry, **environ).providers["vertex"].template


def refusal(entry: dict[str, Any], name: str = "vertex") -> str:
    """Return why an entry is refused."""
    with pytest.raises(ConfigError) as caught:
        config(entry, name)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with credentials that names its project."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"type": "service_account", "project_id": "from-file"}))
    return str(path)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_host_follows_from_the_location(location: str, host: str) -> None:
    """Project and location stand in the path."""
    found = row({"project": "p-1", "location": location})
    assert found.base_url == f"https://{host}/v1/projects/p-1/locations/{location}"
    assert (found.dialect, found.credential, found.api_key) == ("gemini", "google:", None)


def test_the_environment_and_the_file_fill_in(file: str) -> None:
    """What the configuration says counts most, then the variables, then the credentials."""
    environ = {"GOOGLE_CLOUD_PROJECT": "from-env", "GOOGLE_CLOUD_LOCATION": "us-east5"}
    assert "/projects/from-env/locations/us-east5" in row({}, **environ).base_url
    assert "/projects/mine/" in row({"project": "mine"}, **environ).base_url
    found = row({"credentials_file": file})
    assert found.base_url.endswith("/projects/from-file/locations/global")
    assert found.credential == f"google:{file}"


def test_a_key_needs_no_credentials(file: str) -> None:
    """In the express mode not even a project; a token needs one."""
    express = row({"api_key": "AQ.express-key"})
    assert express.base_url == "https://aiplatform.googleapis.com/v1"
    assert express.credential == ""
    token = row({"api_key": "ya29.token", "project": "p"})
    assert token.base_url.endswith("/v1/projects/p/locations/global")
    assert "nothing says which project pays" in refusal({"api_key": "ya29.token"})
    assert "write either api_key or credentials_file" in refusal(
        {"api_key": "AQ.express-key", "credentials_file": file}
    )


def test_credentials_of_the_machine_stay_with_google(file: str) -> None:
    """Another host gets a token only where the file for it is named."""
    there = {"base_url": "http://localhost:1", "project": "p"}
    assert row(there).credential == ""
    assert row(there).base_url == "http://localhost:1/v1/projects/p/locations/global"
    assert row(there | {"credentials_file": file}).credential == f"google:{file}"


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    """With the path of the key."""
    (tmp_path / "broken").write_text("{")
    assert "vertex: nothing says which project pays" in refusal({})
    assert "vertex.project: found 'a/b'" in refusal({"project": "a/b"})
    assert "vertex.location: found 'x y'" in refusal({"project": "p", "location": "x y"})
    for name in ("broken", "none"):
        message = refusal({"credentials_file": str(tmp_path / name)})
        assert "vertex.credentials_file" in message
        assert "name a JSON file with Google credentials" in message
    message = refusal({"api_key": "k-123456", "project": "p"}, "openai")
    assert "openai.project: found 'p'; remove it: only a provider of type vertex" in message


def test_litellms_words_for_it() -> None:
    """`vertex_ai` with its own parameters."""
    params = {"model": "vertex_ai/gemini-3.5-flash", "vertex_project": "p", "vertex_location": "eu"}
    data = {"model_list": [{"model_name": "m", "litellm_params": params}]}
    [deployment] = from_mapping(data, {}).groups["m"].deployments
    assert deployment.base_url.endswith("/projects/p/locations/eu")
    assert deployment.model == "gemini-3.5-flash"


@pytest.mark.acceptance("A02")
@pytest.mark.parametrize(
    "entry", [{"api_key": "AIza-123456"}, {"type": "palm", "api_key": "AIza-1"}]
)
def test_palm_means_gemini_and_says_so(entry: dict[str, str]) -> None:
    """The old name is taken, with a clear message about what it means now."""
    name = "mine" if "type" in entry else "palm"
    found = config(entry, name)
    assert found.providers[name].type == "gemini"
    [warning] = found.warnings
    assert f"llm_service.providers.{name}: Google has ended PaLM" in warning
    assert config({"api_key": "AIza-123456"}, "google").warnings == ()
