"""README and docs do what they say: every example runs, every link and every command exists."""

import ast
import asyncio
import configparser
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from tests.acceptance.pages import PAGES, Block, anchors, blocks, links, name, prose
from tests.serving import starting
from trunkline import LLMProvider, LLMRequest, LLMResponse, catalog, llm_service, register_provider
from trunkline.cli import main
from trunkline.config import load
from trunkline.dialects.openai_chat.quirks import QUIRKS
from trunkline.testing import Answer, FakeUpstream, Status
from trunkline.testing.upstream import Request, answer_hello

CUSTOM = next(page for page in PAGES if page.name == "custom-provider.md")


def each(*languages: str) -> list[Block]:
    """Return the blocks of all pages in one of `languages`."""
    return [block for page in PAGES for block in blocks(page, *languages)]


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    """A provider that speaks OpenAI's format, and at /generate that of custom-provider.md."""

    def respond(request: Request) -> Answer:
        if request.path == "/generate":
            return Status(200, '{"text": "Hi "}\n{"text": "there."}\n')
        return answer_hello(request)

    with FakeUpstream.in_thread(respond) as upstream:
        yield upstream


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, importable; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def write_files(page: Path, folder: Path) -> list[str]:
    """Write the page's files, empty `__init__.py` included; return their paths."""
    paths = []
    for block in blocks(page, "python", "yaml", "toml"):
        if path := block.file:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(block.text)
            paths.append(path)
    return paths


def run(block: Block, names: dict[str, Any]) -> None:
    """Execute a block as `python -m asyncio` would: `await` is allowed outside of functions."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile("\n" * block.line + block.text, str(block), "exec", flags, dont_inherit=True)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.mark.acceptance("G03")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_the_python_of_a_page_runs(
    page: Path, folder: Path, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks in their order, sharing names; a block that begins with a path is that file.

    Where a page names real providers they are played; else nothing is configured at all.
    """
    examples = [block for block in blocks(page, "python") if not block.file]
    if any('"openai"' in block.text for block in examples):
        for provider in ("OPENAI", "ANTHROPIC"):
            monkeypatch.setenv(f"{provider}_API_KEY", "sk-test-1234567890")
            monkeypatch.setenv(f"{provider}_BASE_URL", f"{up.url}/v1")
    monkeypatch.setenv("MY_MODEL_URL", up.url)
    tests = [path for path in write_files(page, folder) if path.startswith("test_")]
    names: dict[str, Any] = {"__name__": "page"}
    llm_service.use(None)
    try:
        for block in examples:
            if not block.note:
                run(block, names)
        asyncio.run(llm_service.default_line().close())
    finally:
        llm_service.use(None)
    if tests:
        (folder / "pytest.ini").write_text(
            "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
        )
        run_tests = [sys.executable, "-m", "pytest", "-q", *tests]
        done = subprocess.run(run_tests, check=False, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_block_that_is_not_run_says_why() -> None:
    """And there are few of them."""
    skipped = [block for block in each("python") if block.note not in {"", "gateway"}]
    assert all(re.fullmatch(r"no-run: \w.{10,}", block.note) for block in skipped)
    assert len(skipped) <= 1


@pytest.mark.slow
def test_what_pages_ask_the_gateway_is_answered(tmp_path: Path) -> None:
    """In a home folder where it runs, after the README's variables; only the port is another."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    asking = [block for block in each("sh", "python") if block.note == "gateway"]
    variables = "".join(re.findall(r"(?m)^export .*\n", asking[0].text))
    python = f"{variables} exec {shlex.quote(sys.executable)} -W error -c "
    with starting() as start:
        process = start(TRUNKLINE_DATA=str(tmp_path / ".trunkline"))
        for block in asking:
            script = python + shlex.quote(block.text) if block.language == "python" else block.text
            script = script.replace("http://127.0.0.1:4000", process.url.removesuffix("/v1"))
            done = subprocess.run(
                ["sh", "-euc", script],
                check=False,
                env={**os.environ, "HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, f"{block}: {done.stderr}"
            assert "You said" in done.stdout, f"{block}: {done.stdout}"
        assert process.end() == (0, "")


class Registered(LLMProvider):
    """Stands for a provider of the reader's own."""

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Answer nothing."""
        return LLMResponse(content="")

    async def stream_generate(self, request: LLMRequest):  # type: ignore[no-untyped-def]
        """Answer nothing."""
        yield LLMResponse(content="")

    def get_available_models(self) -> list[str]:
        """None."""
        return []

    async def health_check(self) -> bool:
        """Always."""
        return True


@pytest.mark.parametrize("block", each("yaml"), ids=str)
def test_yaml_is_a_configuration_that_loads(block: Block, tmp_path: Path) -> None:
    """With every variable set that it refers to; nothing in it is disabled or warned of."""
    register_provider("my_provider", Registered)
    assert yaml.safe_load(block.text).keys() & {"llm_service", "model_list"}
    path = tmp_path / "trunkline.yaml"
    path.write_text(block.text)
    named = re.findall(r"(?:\$\{|os\.environ/)(\w+)", block.text)
    config = load(path, dict.fromkeys(named, "a-value-for-each-of-them"))
    assert (config.disabled, config.warnings) == ({}, ())


@pytest.mark.parametrize("block", each("toml"), ids=str)
def test_toml_is_a_provider_row_or_a_package(block: Block) -> None:
    """Rows are read as the catalog is, and name quirks that exist; a package's part parses."""
    if block.file == "ruff.toml":
        assert tomllib.loads(block.text)["lint"]["flake8-tidy-imports"]["banned-api"]
        return
    if block.file:
        assert tomllib.loads(block.text)["project"]["entry-points"]["trunkline.providers"]
        return
    for row in catalog.parse(block.text).values():
        assert row.quirks <= QUIRKS.keys()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file or folder of the project, and to a heading of it."""
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def command_lines(page: Path) -> Iterator[str]:
    """Yield each `trunkline ...` in prose and blocks, without what is said about it."""
    yield from re.findall(r"`(trunkline [^`]+)`", prose(page))
    for block in blocks(page, "", "console", "sh"):
        yield from re.findall(r"(?m)^(trunkline .*?)(?: {3,}.*)?$", block.text)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_commands_and_options_exist(page: Path) -> None:
    """Every command line that is written anywhere is one that `--help` knows."""
    context = click.Context(main, **main.context_settings)
    for line in command_lines(page):
        command: click.Command = main
        options, *arguments = [], *shlex.split(line)[1:]
        while isinstance(command, click.Group) and arguments:
            if arguments[0].startswith("-") or arguments[0] == "COMMAND":
                break
            found = command.get_command(context, arguments.pop(0))
            assert found is not None, line
            command = found
        options = [option for param in command.get_params(context) for option in param.opts]
        named = [word for word in arguments if word.startswith("-") and word != "-"]
        assert not set(named) - set(options), line


def test_the_list_of_commands_is_that_of_help() -> None:
    """The README has each command once in its list, and no other."""
    listed = [
        words
        for block in blocks(PAGES[0], "")
        if (words := re.findall(r"(?m)^trunkline (\w+)", block.text))
    ]
    said = CliRunner().invoke(main, ["--help"]).output.partition("Commands:")[2]
    assert [sorted(words) for words in listed] == [re.findall(r"(?m)^  (\w+)  ", said)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "")], ids=name)
def test_commands_in_blocks_work(page: Path) -> None:
    """Each one ends well where nothing is configured; one that stays is only looked at."""
    for block in blocks(page, ""):
        for line in re.findall(r"(?m)^trunkline (.*?)(?: {3,}.*)?$", block.text):
            stays = ["--help"] if line.startswith("serve") else []
            result = CliRunner().invoke(main, [*shlex.split(line), *stays], input="hi")
            assert result.exit_code == 0, f"trunkline {line}\n{result.output}"


@pytest.mark.acceptance("T10", "T11")
def test_the_custom_provider_is_one_small_file_and_an_entry_point(
    folder: Path, up: FakeUpstream
) -> None:
    """At most 60 lines; installed, LLM_PROVIDER alone chooses it, and usage is counted."""
    for path in write_files(CUSTOM, folder):
        if path.endswith(".py"):
            assert len((folder / path).read_text().splitlines()) <= 60
    package = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    points = configparser.ConfigParser()
    points.read_dict(package["entry-points"])
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    with (info / "entry_points.txt").open("w") as file:
        points.write(file)
    variables = {
        "LLM_PROVIDER": "my_provider",
        "LLM_DEFAULT_MODEL": "house-1",
        "MY_MODEL_URL": up.url,
        "PYTHONPATH": str(folder),
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "-c", "from trunkline.cli import main; main()", "call", "-v", "Hi"]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert done.stdout == "Hi there.\n"
    assert done.stderr.startswith("my_provider/house-1: 1 + 2 tokens, ")
    assert up.requests[0].json()["prompt"] == "user: Hi"


@pytest.mark.parametrize("kind", ["my_provider.py", "answers.py"])
async def test_both_shapes_of_a_custom_provider_answer(
    kind: str, folder: Path, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole and streamed, through the same faces as any provider."""
    monkeypatch.setenv("MY_MODEL_URL", up.url)
    write_files(CUSTOM, folder)
    names: dict[str, Any] = {"__name__": "custom"}
    exec((folder / "app/services/providers" / kind).read_text(), names)
    made = names["MyProvider"] if "MyProvider" in names else names["Answers"]
    register_provider("my_provider", made)
    service = llm_service.LLMService.from_config({})
    said = [{"role": "user", "content": "What are your opening hours?"}]
    request = LLMRequest(said, "my_provider/table-1")
    async with service.line:
        whole = await service.generate(request)
        pieces = [part.content async for part in service.stream_generate(request)]
    assert whole.content == "".join(pieces) != ""
    assert whole.usage["completion_tokens"] > 0
