"""The command line: every command, its exit codes, and where its words go."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.acceptance.conftest import Trunk
from trunkline.cli import main
from trunkline.testing import FakeUpstream, Json, Status, chat_answer, chat_usage

ROOT = Path(__file__).parents[2]
CONTEXT = click.Context(main, **main.context_settings)
COMMANDS = main.list_commands(CONTEXT)


def commands(group: click.Group = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with the words that run it."""
    for name in group.list_commands(CONTEXT):
        command = group.get_command(CONTEXT, name)
        assert command is not None
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


EVERY = dict(commands())
EACH = pytest.mark.parametrize("name", EVERY)


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    """A provider on loopback that answers as `openai`."""
    with FakeUpstream.in_thread() as upstream:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567890")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{upstream.url}/v1")
        yield upstream


def configure(text: str) -> None:
    """Write the configuration of this folder."""
    Path("trunkline.yaml").write_text(f"llm_service:\n{text}")


# --- help ----------------------------------------------------------------------------------------


@EACH
def test_help_explains_every_option(name: str, trunk: Trunk) -> None:
    """Each option stands there by every name it has, with words; --json is never missing."""
    result = trunk(*name.split(), "--help")
    assert result.exit_code == 0
    options = [param for param in EVERY[name].params if isinstance(param, click.Option)]
    assert "--json" in {spelling for option in options for spelling in option.opts}
    for option in options:
        assert option.help, option
        for spelling in option.opts:
            assert re.search(rf"(?<![\w-]){spelling}(?![\w-])", result.stdout)
    assert trunk(*name.split(), "-h").stdout == result.stdout


def test_readme_lists_the_commands() -> None:
    """The list of the README is the list of `trunkline --help`, each with a line of words."""
    section = (ROOT / "README.md").read_text().partition("## From the terminal")[2]
    shown = re.findall(r"(?m)^trunkline (\w+).* {3,}\S", section.split("```")[1])
    listed = re.findall(r"(?m)^  (\w+) {2,}\S", CliRunner().invoke(main, ["--help"]).stdout)
    assert sorted(shown) == listed == COMMANDS


@EACH
def test_wrong_use_is_told_apart(name: str, trunk: Trunk) -> None:
    """An option that does not exist: exit code 2, words on standard error only."""
    result = trunk(*name.split(), "--frobnicate")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--frobnicate" in result.stderr


@EACH
def test_a_broken_configuration_is_an_error_of_every_command(name: str, trunk: Trunk) -> None:
    """Exit code 1 and the file on standard error, also as JSON; `init` writes over the file."""
    configure("  providrs: {}\n")
    arguments = ["x" for each in EVERY[name].params if isinstance(each, click.Argument)]
    line = [*name.split(), *{"call": ["hi"], "init": ["--force"]}.get(name, arguments)]
    plain, as_json = trunk(*line), trunk(*line, "--json")
    if name == "init":
        assert (plain.exit_code, as_json.exit_code) == (0, 0)
        return
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert plain.stderr.startswith("error: trunkline.yaml: llm_service.providrs: unknown key")
    assert (as_json.exit_code, as_json.stdout) == (1, "")
    assert json.loads(as_json.stderr)["error"]["code"] == "invalid_configuration"


# --- call ----------------------------------------------------------------------------------------


def test_call_prints_the_answer_and_nothing_else(trunk: Trunk) -> None:
    """Several words are one prompt."""
    result = trunk("call", "/demo", "echo", "one two")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "one two\n", "")


@pytest.mark.parametrize("arguments", [[], ["-"]], ids=["nothing", "dash"])
def test_call_reads_standard_input(arguments: list[str], trunk: Trunk) -> None:
    """Without a prompt, or with "-"."""
    assert trunk("call", *arguments, input="/demo echo Grüße\n").stdout == "Grüße\n"


@pytest.mark.parametrize(
    ("arguments", "stdin"), [([], " \n"), (["-"], ""), ([""], "not read"), ([" "], "not read")]
)
def test_call_refuses_an_empty_prompt(arguments: list[str], stdin: str, trunk: Trunk) -> None:
    """Nothing is sent; it is wrong use, and an empty argument does not wait for input."""
    result = trunk("call", *arguments, input=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the prompt is empty" in result.stderr


def test_call_refuses_what_is_no_text(trunk: Trunk) -> None:
    """Bytes that are not UTF-8 are wrong use and no traceback."""
    result = trunk("call", input=b"\xff\xfe")
    assert result.exit_code == 2
    assert "not text in UTF-8" in result.stderr


def test_call_sends_what_the_options_say(trunk: Trunk, up: FakeUpstream) -> None:
    """Values are read as JSON, else as text."""
    options = ["-m", "gpt-4o", "-s", "Be brief.", "-p", "temperature=0.5", "-p", "user=me"]
    assert trunk("call", *options, "--no-stream", "hi").stdout == "Hello.\n"
    sent = up.requests[0].json()
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert (sent["model"], sent["temperature"], sent["user"]) == ("gpt-4o", 0.5, "me")
    assert not sent.get("stream")


@pytest.mark.parametrize("pair", ["temperature", "=1"])
@pytest.mark.parametrize("command", ["call", "chat"])
def test_a_parameter_needs_name_and_value(command: str, pair: str, trunk: Trunk) -> None:
    """Said before anything is read or sent."""
    result = trunk(command, "-p", pair, input="hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not NAME=VALUE" in result.stderr


def test_call_as_json(trunk: Trunk) -> None:
    """One object with the text, the counts, the cost and the id."""
    answer = json.loads(trunk("call", "--json", "/demo think Hm.\n/demo echo ok").stdout)
    assert answer["content"] == "ok"
    assert answer["thoughts"] == {"reasoning_content": "Hm."}
    assert (answer["provider"], answer["finish_reason"]) == ("demo", "stop")
    assert answer["usage"]["total_tokens"] > 0
    assert (answer["cost_nusd"], answer["cost_usd"], answer["cost_state"]) == (0, "0.00", "exact")
    assert answer["call_id"].startswith("call_")
    assert answer["warnings"] == []


def test_call_verbose_tells_an_unknown_cost(trunk: Trunk, up: FakeUpstream) -> None:
    """On standard error, so that the answer can be piped on; unknown is never 0."""
    result = trunk("call", "-v", "-m", "model-of-tomorrow", "hi")
    assert result.stdout == "Hello.\n"
    assert "10 + 5 tokens, cost unknown, call call_" in result.stderr


def test_call_warns_of_what_was_left_out(trunk: Trunk, up: FakeUpstream) -> None:
    """A parameter that the model does not take is dropped, and said."""
    result = trunk("call", "-m", "gpt-4o", "-p", "top_k=3", "hi")
    assert result.stdout == "Hello.\n"
    assert result.stderr == "warning: openai/gpt-4o does not take top_k\n"


def test_call_shows_the_first_of_several_answers(trunk: Trunk) -> None:
    """Pieces of two answers are not mixed on one line."""
    assert trunk("call", "-p", "n=2", "/demo echo one two").stdout == "one two\n"


def test_a_failed_call(trunk: Trunk) -> None:
    """Exit code 1, code and message on standard error; as JSON one object there."""
    plain = trunk("call", "/demo fail 401")
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert plain.stderr.startswith("error: ")
    assert plain.stderr.endswith(" [upstream_auth_failed]\n")
    as_json = trunk("call", "--json", "/demo fail 401")
    assert (as_json.exit_code, as_json.stdout) == (1, "")
    assert json.loads(as_json.stderr)["error"]["code"] == "upstream_auth_failed"


def test_an_answer_that_breaks_off(trunk: Trunk) -> None:
    """What came is shown, on a line of its own; then the error."""
    result = trunk("call", "/demo tokens 4\n/demo fail midstream")
    assert (result.exit_code, result.stdout) == (1, "demo demo\n")
    assert "[connection_lost]" in result.stderr


def test_a_data_folder_that_cannot_be_used(trunk: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that cannot be recorded is not made; the error says what to change."""
    Path("file").touch()
    monkeypatch.setenv("TRUNKLINE_DATA", str(Path("file/below").absolute()))
    for arguments in (["call", "hi"], ["usage"]):
        result = trunk(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "TRUNKLINE_DATA" in result.stderr


# --- chat ----------------------------------------------------------------------------------------


def test_chat_keeps_the_history(trunk: Trunk, up: FakeUpstream) -> None:
    """Each turn is sent with all turns before it; empty lines are not; /exit ends."""
    result = trunk("chat", "-m", "gpt-4o", "-s", "Be kind.", input="one\n\n  two \n/exit\nthree\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Hello.\nHello.\n", "")
    first, second = (request.json()["messages"] for request in up.requests)
    assert [message["content"] for message in first] == ["Be kind.", "one"]
    assert [message["content"] for message in second] == ["Be kind.", "one", "Hello.", "two"]


def test_chat_reuses_the_connection(trunk: Trunk, up: FakeUpstream) -> None:
    """A turn does not pay for a new one."""
    trunk("chat", "-m", "gpt-4o", input="one\ntwo\nthree")
    assert (len(up.requests), up.connections_made) == (3, 1)


def test_chat_survives_a_failed_turn(trunk: Trunk, up: FakeUpstream) -> None:
    """The error is told, the turn forgotten, the talk goes on; the exit code remembers."""
    up.script(Json(chat_answer()), Status(401))
    result = trunk("chat", "-m", "gpt-4o", input="one\nbad\ntwo\n")
    assert (result.exit_code, result.stdout) == (1, "Hello.\nHello.\n")
    assert "[upstream_auth_failed]" in result.stderr
    contents = [message["content"] for message in up.requests[-1].json()["messages"]]
    assert contents == ["one", "Hello.", "two"]


def test_chat_as_json_is_one_line_for_each_turn(trunk: Trunk) -> None:
    """Answers and errors, in their order."""
    result = trunk("chat", "--json", input="/demo echo a\n/demo fail 401\n/demo echo b")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("content") for line in lines] == ["a", None, "b"]
    assert lines[1]["error"]["code"] == "upstream_auth_failed"
    assert (result.exit_code, result.stderr) == (1, "")


# --- models, status ------------------------------------------------------------------------------

TWO = """\
  providers:
    openai:
      api_key: sk-test-1234567890
      base_url: {url}/v1
      models: [{{name: house-model, price: {{input: 0.15, output: 2.5}}}}, unpriced]
    ollama:
      base_url: {down}
  groups: {{fast: {{deployments: [ollama/qwen3]}}}}
  aliases: {{mine: openai/house-model}}
"""
DOWN = "http://127.0.0.1:1"
BUDGETS = """\
  budgets: [{scope: global, amount: 1, period: month, timezone: Europe/Berlin, mode: soft},
    {scope: user:u, amount: 1, period: week, rolling: true}]"""


def test_models_lists_every_name_and_who_takes_any(trunk: Trunk, up: FakeUpstream) -> None:
    """Groups, aliases, listed models; a provider that lists nothing takes any name."""
    configure(TWO.format(url=up.url, down=DOWN))
    rows = [tuple(row.values()) for row in json.loads(trunk("models", "--json").stdout)]
    assert rows == [
        ("fast", "group", None, None, None),
        ("mine", "alias", None, None, None),
        ("house-model", "model", "openai", "0.15", "2.50"),
        ("unpriced", "model", "openai", None, None),
        (None, "any", "ollama", "0.00", "0.00"),
    ]
    table = [line.split() for line in trunk("models").stdout.splitlines()]
    assert table[0] == ["name", "kind", "provider", "input_usd", "output_usd"]
    assert table[-1] == ["(any)", "any", "ollama", "0.00", "0.00"]


def test_models_when_every_provider_is_disabled(trunk: Trunk) -> None:
    """An empty list, and on standard error why."""
    configure("  providers: {openai: {}, groq: {}}\n")
    result = trunk("models", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "OPENAI_API_KEY is not set" in result.stderr


@pytest.mark.parametrize(("default", "code"), [("openai", 0), ("ollama", 1), (None, 0)])
def test_status_fails_when_the_default_cannot_be_reached(
    default: str | None, code: int, trunk: Trunk, up: FakeUpstream
) -> None:
    """Where none is the default, one that can be reached is enough."""
    text = TWO.format(url=up.url, down=DOWN)
    configure(text if default is None else f"  default_provider: {default}\n{text}")
    result = trunk("status", "--json")
    assert result.exit_code == code
    providers = {"openai": True, "ollama": False}
    assert json.loads(result.stdout) == {"default_provider": default, "providers": providers}
    table = [line.split() for line in trunk("status").stdout.splitlines()]
    assert table[1] == ["openai", "yes" if default == "openai" else "no", "yes"]


# --- usage ---------------------------------------------------------------------------------------


@pytest.fixture
def spent(trunk: Trunk, up: FakeUpstream) -> None:
    """Two calls with a price and one without."""
    configure(TWO.format(url=up.url, down=DOWN))
    up.on(lambda _: Json(chat_answer(usage=chat_usage(1000, 200))))
    for model in ("house-model", "house-model", "unpriced"):
        trunk("call", "-m", model, "hi")


@pytest.mark.usefixtures("spent")
def test_usage_sums_up_and_counts_what_has_no_price(trunk: Trunk) -> None:
    """Cost in exact USD; a call whose cost is not known is counted, never taken as 0."""
    rows = {row["model"]: row for row in json.loads(trunk("usage", "--json").stdout)}
    priced, unpriced = rows["house-model"], rows["unpriced"]
    assert (priced["requests"], priced["total_tokens"]) == (2, 2400)
    assert (priced["cost_usd"], priced["unknown_price_requests"]) == ("0.0013", 0)
    assert priced["cost_nusd"] == 1_300_000
    assert (unpriced["requests"], unpriced["unknown_price_requests"]) == (1, 1)
    assert trunk("usage", "--format", "json").stdout == trunk("usage", "--json").stdout


@pytest.mark.usefixtures("spent")
def test_usage_as_a_table_and_as_csv(trunk: Trunk) -> None:
    """The same columns in both; a user nobody named is shown as -."""
    table = [line.split() for line in trunk("usage", "--by", "provider").stdout.splitlines()]
    text = trunk("usage", "--by", "provider", "--format", "csv").stdout
    assert list(csv.reader(text.splitlines())) == table
    [head, row] = table
    assert (head[0], row[0]) == ("provider", "openai")
    assert (head[-2:], row[-2:]) == (["unknown_price_requests", "cost_usd"], ["1", "0.0013"])
    assert "cost_nusd" not in head
    assert trunk("usage", "--by", "user").stdout.splitlines()[1].split()[0] == "-"


@pytest.mark.usefixtures("spent")
@pytest.mark.parametrize(
    ("since", "rows"), [("1h", 2), ("7d", 2), ("0001-01-01", 2), ("9999-01-01", 0)]
)
def test_usage_since(since: str, rows: int, trunk: Trunk) -> None:
    """A time ago or a date, however far."""
    assert len(json.loads(trunk("usage", "--since", since, "--json").stdout)) == rows


@pytest.mark.parametrize("since", ["yesterday", "", "99999999999d", "2026-13-01", "-1h"])
def test_usage_since_nonsense(since: str, trunk: Trunk) -> None:
    """Wrong use, with what to write."""
    result = trunk("usage", "--since", since)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "write current_month, 24h, 7d or 2026-11-01" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "out"),
    [([], "no calls in this time\n"), (["--format", "csv"], ""), (["--json"], "[]\n")],
)
def test_usage_of_nothing(arguments: list[str], out: str, trunk: Trunk) -> None:
    """Nothing is not an error; a program that reads the output finds no prose in it."""
    result = trunk("usage", *arguments)
    assert (result.exit_code, result.stdout) == (0, out)


# --- check, init ---------------------------------------------------------------------------------


def test_check_says_what_the_configuration_amounts_to(trunk: Trunk, up: FakeUpstream) -> None:
    """Every part once; a provider without its key is shown as disabled, which is no failure."""
    text = TWO.format(url=up.url, down=DOWN) + BUDGETS
    configure(text.replace("    ollama:", "    groq: {}\n    ollama:"))
    result = trunk("check")
    assert result.exit_code == 0
    for line in (
        "trunkline.yaml: good",
        "provider openai: house-model, unpriced",
        "provider ollama: any model",
        "provider groq: DISABLED, GROQ_API_KEY is not set",
        "group fast: ollama/qwen3",
        "alias mine: openai/house-model",
        "budget on global per month in Europe/Berlin, soft",
        "budget on user:u per rolling week, hard",
    ):
        assert line in result.stdout.splitlines()
    assert "GROQ_API_KEY" in result.stderr
    found = json.loads(trunk("check", "--json").stdout)
    assert found["providers"]["ollama"] == {"models": [], "reachable": None}
    assert (found["groups"], found["aliases"]) == (["fast"], {"mine": "openai/house-model"})


@pytest.mark.parametrize(("down", "code"), [(DOWN, 1), (None, 0)])
def test_check_probe_fails_when_one_does_not_answer(
    down: str | None, code: int, trunk: Trunk, up: FakeUpstream
) -> None:
    """Each is tried and said, as words and as JSON."""
    configure(TWO.format(url=up.url, down=down or up.url))
    result = trunk("check", "--probe")
    assert result.exit_code == code
    assert "provider openai: house-model, unpriced, reachable" in result.stdout
    assert ("NOT reachable" in result.stdout) == bool(code)
    found = json.loads(trunk("check", "--probe", "--json").stdout)
    assert found["providers"]["ollama"]["reachable"] == (code == 0)
