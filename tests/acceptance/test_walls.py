"""Who may talk to providers: read off the source, function-level imports included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/trunkline"
SDKS = {
    "anthropic", "boto3", "botocore", "cohere", "google", "groq", "mistralai", "ollama", "openai",
    "together",
}  # fmt: skip
TOKENS = {
    *("transport/google.py: google.auth", "transport/google.py: google.oauth2"),
    *("transport/aws.py: botocore", "transport/aws.py: botocore.session"),
}
"""Access tokens and keys are no matter of a provider's SDK; they come with an extra."""
CLIENTS = {"aiohttp", "http.client", "httpx", "httpx2", "requests", "urllib.request", "urllib3"}
BRIDGES = {"backends/litellm.py", "observability/litellm.py"}
"""The backend for the long tail, and what brings its logging to ours."""
DOORS = ("transport/", "backends/", "egress.py")


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__", "find_spec")
        ):
            yield from (str(said.value) for said in node.args if isinstance(said, ast.Constant))


def offenders(forbidden: set[str], doors: tuple[str, ...]) -> list[str]:
    """Return the files outside `doors` that import one of `forbidden`."""
    return [
        f"{path.relative_to(SOURCE)}: {module}"
        for path in sorted(SOURCE.rglob("*.py"))
        if not str(path.relative_to(SOURCE)).startswith(doors)
        for module in imports(path)
        if module in forbidden or module.split(".")[0] in forbidden
    ]


@pytest.mark.acceptance("G01")
def test_nobody_imports_a_provider_sdk() -> None:
    """Not even lazily: the dialects are our own."""
    assert set(offenders(SDKS, ())) == TOKENS


@pytest.mark.acceptance("G01")
def test_only_the_doors_import_an_http_client() -> None:
    """Calls to providers leave through the transport and the backends alone."""
    assert offenders(CLIENTS, DOORS) == []
    assert offenders(CLIENTS, ()) != []


@pytest.mark.acceptance("G02")
def test_only_the_backend_and_the_bridge_import_litellm() -> None:
    """Function-level imports and imports by name included; both of them do, so the scan sees."""
    found = {said.partition(":")[0] for said in offenders({"litellm"}, ())}
    assert found == BRIDGES


@pytest.mark.acceptance("G02")
@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    import litellm",
        "def f():\n    from litellm.integrations import custom_logger",
        "def f():\n    return importlib.import_module('litellm')",
        "if x: import a, litellm.utils as b",
    ],
)
def test_the_scan_sees_every_way_to_import(code: str, tmp_path: Path) -> None:
    """Within functions, of a submodule, under another name, by a string."""
    (tmp_path / "x.py").write_text(code)
    assert any(name.split(".")[0] == "litellm" for name in imports(tmp_path / "x.py"))
