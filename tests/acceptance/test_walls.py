"""Who may talk to providers: read off the source, function-level imports included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/trunkline"
SDKS = {
    "anthropic", "boto3", "botocore", "cohere", "google", "groq", "litellm", "mistralai", "ollama",
    "openai", "together",
}  # fmt: skip
CLIENTS = {"aiohttp", "http.client", "httpx", "httpx2", "requests", "urllib.request", "urllib3"}
DOORS = ("transport/", "backends/", "egress.py")


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


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
    assert offenders(SDKS, ()) == []


@pytest.mark.acceptance("G01")
def test_only_the_doors_import_an_http_client() -> None:
    """Calls to providers leave through the transport and the backends alone."""
    assert offenders(CLIENTS, DOORS) == []
    assert offenders(CLIENTS, ()) != []
