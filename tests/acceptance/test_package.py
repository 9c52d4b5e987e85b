"""The package as a user gets it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.acceptance("G03")
@pytest.mark.slow
def test_the_wheel_has_everything(tmp_path: Path) -> None:
    """From the built wheel alone: the import works and the demo provider answers a call."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        "import asyncio, trunkline\n"
        "from trunkline import call_llm, stream_llm\n"
        "print(trunkline.__file__)\n"
        "hi = [{'role': 'user', 'content': 'hi'}]\n"
        "content, _ = asyncio.run(call_llm('demo', 'any', hi, {}))\n"
        "print(content)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    where, content = done.stdout.split("\n", 1)
    assert where.startswith(str(site))
    assert "hi" in content
    assert done.stderr == ""


@pytest.mark.acceptance("A01")
def test_the_module_map_names_every_part_and_every_path_exists() -> None:
    """docs/reference/modules.md has the six parts of seed 003, and its paths are real."""
    page = (ROOT / "docs/reference/modules.md").read_text()
    parts = {
        "service",
        "provider registry",
        "provider implementations",
        "configuration management",
        "request routing",
        "fallback management",
    }
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert parts <= {row[0] for row in rows}
    source = ROOT / "src/trunkline"
    named = [
        word.strip("`")
        for row in rows
        for word in row[1].replace(",", " ").replace(";", " ").split()
        if word.startswith("`") and ("/" in word or word.strip("`").endswith((".py", ".toml")))
    ]
    assert named
    assert [path for path in named if not (source / path).exists()] == []
