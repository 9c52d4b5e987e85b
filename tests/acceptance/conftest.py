"""A provider on loopback, and lines that talk to it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trunkline import Trunkline
from trunkline.cli import main
from trunkline.llm_service import use
from trunkline.testing import FakeUpstream

MakeLine = Callable[..., Trunkline]
Trunk = Callable[..., Result]


@pytest.fixture
def trunk() -> Trunk:
    """Run the command line in this process: `trunk("call", "hi", input=...)`."""

    def run(*args: str, **more: Any) -> Result:
        return CliRunner().invoke(main, args, catch_exceptions=False, **more)

    return run


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    """A scripted provider."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def make_line() -> AsyncIterator[MakeLine]:
    """Build lines from the body of `llm_service:`; the last one built is the process's default."""
    lines: list[Trunkline] = []

    def make(**settings: Any) -> Trunkline:
        line = Trunkline.from_config({"llm_service": settings})
        lines.append(line)
        use(line)
        return line

    yield make
    use(None)
    for line in lines:
        await line.close()


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose provider `openai` is the scripted one; retries do not wait."""
    return make_line(
        default_provider="openai",
        providers={"openai": openai_at(up)},
    )


def openai_at(up: FakeUpstream, **more: Any) -> dict[str, Any]:
    """Return the settings of an OpenAI-like provider at `up`."""
    return {"api_key": "sk-test-1234567890", "base_url": f"{up.url}/v1", "retries": 0, **more}
