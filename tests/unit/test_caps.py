"""The size caps and their ratchet."""

from pathlib import Path

import pytest

from tools.caps import Exemption, Size, complaints, main, read_ratchet, sizes


def test_measures_files_and_nested_functions(tmp_path: Path) -> None:
    """Files are counted in lines, functions by their dotted name; test functions are not."""
    for name in ("src", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("class A:\n    def f(self):\n        return 1\n")
    assert list(sizes(tmp_path)) == [
        Size("src/a.py", 3, 300),
        Size("src/a.py::A.f", 2, 50),
        Size("tests/a.py", 3, 500),
    ]


@pytest.mark.parametrize(
    ("lines", "allowed", "says"),
    [
        (300, None, None),
        (301, None, "the cap is 300"),
        (310, 310, None),
        (305, 310, None),
        (311, 310, "the ratchet stands at 310"),
        (300, 310, "take it out"),
    ],
)
def test_ratchet_only_goes_down(lines: int, allowed: int | None, says: str | None) -> None:
    """Over the cap needs an entry, over the entry fails, an entry nothing needs fails."""
    ratchet = {} if allowed is None else {"a.py": Exemption(allowed, "why")}
    found = list(complaints([Size("a.py", lines, 300)], ratchet))
    assert [says in line for line in found if says] == ([True] if says else [])
    assert bool(found) == bool(says)


def test_entry_of_a_file_that_is_gone_fails() -> None:
    """An entry whose file no longer exists must be taken out."""
    assert list(complaints([], {"gone.py": Exemption(400, "why")}))


def test_reason_is_required(tmp_path: Path) -> None:
    """An entry with an empty reason is refused."""
    path = tmp_path / "ratchet.toml"
    path.write_text('[exempt."a.py"]\nlines = 400\nreason = " "\n')
    with pytest.raises(ValueError, match=r"a\.py has no reason"):
        read_ratchet(path)


def test_exit_code_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree over a cap exits 1 and names the file; a clean one exits 0 and says nothing."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "ratchet.toml").touch()
    (tmp_path / "src").mkdir()
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "src" / "long.py").write_text("x = 1\n" * 301)
    assert main(tmp_path) == 1
    assert "src/long.py: 301 lines" in capsys.readouterr().out
