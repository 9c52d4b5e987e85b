"""The guide that leads from litellm to `call_llm`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.pages import ROOT, blocks, name
from trunkline import call_llm, llm_service
from trunkline.testing import FakeUpstream

GUIDE = ROOT / "docs/how-to/migrate.md"
NOTES = ("call_llm", "provider", "parameters", "user_service", "tuple")


@pytest.mark.acceptance("G33")
def test_the_guide_has_the_five_notes() -> None:
    """Each says one thing that changes in a call."""
    notes = re.findall(r"(?m)^(\d)\. \*\*(.+(?:\n   .+)*)", GUIDE.read_text())
    assert [number for number, _ in notes] == ["1", "2", "3", "4", "5"]
    assert all(word in note for word, (_, note) in zip(NOTES, notes, strict=True))


@pytest.mark.acceptance("G33")
async def test_the_call_after_the_move_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The guide's own example, a tuple of text and thoughts; the user is charged once."""
    after = next(b for b in blocks(GUIDE, "python") if "content, thoughts = await" in b.text)
    users = next(b for b in blocks(GUIDE, "python") if "class Users" in b.text)
    names: dict[str, object] = {"call_llm": call_llm, "__name__": "guide"}
    exec(users.text, names)
    body = after.text.replace("from services.llm_service import call_llm", "")
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    exec(f"async def move():\n{lines}    return content, thoughts", names)
    async with FakeUpstream() as up:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567890")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{up.url}/v1")
        llm_service.use(None)
        try:
            told = await names["move"]()  # type: ignore[operator]
            await llm_service.default_line().close()
        finally:
            llm_service.use(None)
        assert up.requests[0].json()["model"] == "gpt-4"
    assert told == ("Hello.", None)
    assert names["user_service"].spent_usd["user-123"] > 0  # type: ignore[attr-defined]


@pytest.mark.acceptance("G33")
@pytest.mark.parametrize(
    "code",
    ["import litellm\n", "def ask():\n    from litellm import acompletion\n"],
)
def test_the_linter_points_to_the_guide(code: str, tmp_path: Path) -> None:
    """The guide's rule finds an import wherever it stands, and names this page."""
    [rule] = [block for block in blocks(GUIDE, "toml") if block.file == "ruff.toml"]
    (tmp_path / "ruff.toml").write_text(rule.text)
    (tmp_path / "mine.py").write_text(code)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    done = subprocess.run(
        [*command, "mine.py"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert "TID251" in done.stdout
    assert name(GUIDE) in done.stdout
