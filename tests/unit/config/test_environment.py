"""Variables: who wins, what an odd spelling means, and how a `.env` file is read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.config.environment import Environment, malformed, read_dotenv


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("x-${A}-${B}", "x-1-2"),
        ("${NONE:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${A:-default}", "1"),
        ("${NONE:-}", ""),
        ("${NONE:-http://h:1/x}", "http://h:1/x"),
        ("os.environ/A", "1"),
        ("see os.environ/A", "see os.environ/A"),
        ("cost: $5", "cost: $5"),
    ],
)
def test_references_are_filled_in(text: str, expanded: str) -> None:
    """As a shell does, and LiteLLM's spelling for a whole value."""
    assert Environment({"A": "1", "B": "2", "EMPTY": ""}).expand(text) == expanded


def test_missing_names_are_found_however_deep() -> None:
    """Each once, in order; one with a default is never missing, one that is empty is."""
    tree = {"a": ["${X}", {"b": "${EMPTY}"}], "c": "${Y:-d} ${X} ${A}", "d": 5, "e": "os.environ/Z"}
    assert Environment({"A": "1", "EMPTY": ""}).missing(tree) == ["X", "EMPTY", "Z"]


def test_process_wins_and_case_is_a_last_resort() -> None:
    """Exact before folded within one place; the process before `.env` in any case."""
    environment = Environment(
        {"openai_api_key": "process", "A": "exact", "a": "folded", "B": ""},
        {"OPENAI_API_KEY": "dotenv", "B": "dotenv", "C": "dotenv"},
    )
    assert environment.get("OPENAI_API_KEY") == "process"
    assert environment.get("A") == "exact"
    assert environment.get("B") is None
    assert environment.get("C") == "dotenv"
    assert environment.get("D") is None


@pytest.mark.parametrize("text", ["${", "${A", "${A-b}", "${1}", "$A", "$(A)", "os.environ/A B"])
def test_almost_a_reference_is_noticed(text: str) -> None:
    """What was meant as a variable must not be sent as a key."""
    assert malformed(text)


@pytest.mark.parametrize("text", ["${A}", "${A:-b}", "os.environ/A", "$5", "a$b", "sk-$x", ""])
def test_plain_text_is_left_alone(text: str) -> None:
    """A dollar sign alone means nothing."""
    assert not malformed(text)


def test_dotenv_is_read_as_other_tools_read_it(tmp_path: Path) -> None:
    """Comments, quotes, escapes, `export`, values of several lines, and Windows' line ends."""
    path = tmp_path / ".env"
    path.write_bytes(
        b"\xef\xbb\xbf# a comment\n"
        b"LLM_PROVIDER=openai_compatible\r\n"
        b"OPENAI_API_KEY=ollama   # Ollama accepts any non-empty string\n"
        b"\n"
        b"export SPACED = some words \n"
        b"SINGLE='a # $x \\n'\n"
        b'DOUBLE="a \\"b\\"\\n\\\\" # after\n'
        b"EMPTY=\n"
        b"HASH=a#b\n"
        b"URL=http://h:1/p?q=1\n"
        b'LONG="first\nsecond"\n'
        b"LAST=end"
    )
    variables, warnings = read_dotenv(path)
    assert warnings == []
    assert variables == {
        "LLM_PROVIDER": "openai_compatible",
        "OPENAI_API_KEY": "ollama",
        "SPACED": "some words",
        "SINGLE": "a # $x \\n",
        "DOUBLE": 'a "b"\n\\',
        "EMPTY": "",
        "HASH": "a#b",
        "URL": "http://h:1/p?q=1",
        "LONG": "first\nsecond",
        "LAST": "end",
    }


def test_odd_lines_are_counted_right(tmp_path: Path) -> None:
    """The number is the one an editor shows, also after a value of several lines."""
    path = tmp_path / ".env"
    path.write_text('A="1\n2"\nodd\nB=2\n=odd too\n')
    variables, warnings = read_dotenv(path)
    assert variables == {"A": "1\n2", "B": "2"}
    assert [warning.split(" is ")[0] for warning in warnings] == [
        f"{path} line 3",
        f"{path} line 5",
    ]


def test_unreadable_dotenv_is_a_warning_and_a_missing_one_is_nothing(tmp_path: Path) -> None:
    """It may belong to somebody else, so it stops nobody."""
    assert read_dotenv(tmp_path / ".env") == ({}, [])
    variables, warnings = read_dotenv(tmp_path)
    assert variables == {}
    assert len(warnings) == 1


@given(st.text(alphabet=st.characters(exclude_characters="'\0\r", codec="utf-8")))
def test_any_value_survives_single_quotes(value: str) -> None:
    """Nothing between single quotes is special."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".env")
        path.write_text(f"A='{value}'\nB=1\n", encoding="utf-8", newline="")
        assert read_dotenv(path) == ({"A": value, "B": "1"}, [])
