"""The seeds' own examples, unchanged but for the ellipses they leave to the reader."""

import sys
import textwrap
import types
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

import trunkline
from trunkline import Trunkline
from trunkline.testing import FakeUpstream

BASIC = """
from services.llm_service import call_llm
content, thoughts = await call_llm(
provider="openai",
model="gpt-4",
messages=[
{"role": "system", "content": "You are a helpful assistant."},
{"role": "user", "content": "Hello!"}
],
parameters={"temperature": 0.7, "max_tokens": 500},
user_service=user_service,
user_id="user-123",
)
"""
WITHOUT_USER = """
content, thoughts = await call_llm(
provider="openai",
model="gpt-4o-mini",
messages=[{"role": "user", "content": "Summarize this..."}],
parameters={},
user_service=None,
user_id=None,
)
"""
STREAMING = """
from services.llm_service import stream_llm
async for chunk in stream_llm(
provider="openai",
model="gpt-4",
messages=[{"role": "user", "content": "Tell me a story..."}],
parameters={"temperature": 0.9},
):
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
"""
MIGRATED = """
from services.llm_service import call_llm
content, thoughts = await call_llm(
provider="openai",
model="gpt-4",
messages=[{"role": "user", "content": "Hello"}],
parameters={},
user_service=user_service,
user_id=user_id,
)
"""


class Users:
    """An application's user service, as the seed has it: two plain methods."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def require_allowance(self, user_id: str, basic_info: Any = None) -> None:
        """Note who asked."""
        self.said.append(("require", user_id, basic_info))

    def add_usage(self, user_id: str, cost: float, basic_info: Any = None) -> None:
        """Note who paid."""
        self.said.append(("add", user_id, cost, basic_info))


@pytest.fixture(autouse=True)
def services_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own `services/llm_service.py`: one line that re-exports ours."""
    package = types.ModuleType("services")
    module = types.ModuleType("services.llm_service")
    exec("from trunkline import call_llm, stream_llm", vars(module))
    monkeypatch.setitem(sys.modules, "services", package)
    monkeypatch.setitem(sys.modules, "services.llm_service", module)


async def run(code: str, **names: Any) -> dict[str, Any]:
    """Run `code` as the body of a coroutine and return its variables."""
    body = textwrap.indent(code + "\nreturn locals()", "    ")
    scope: dict[str, Any] = dict(names)
    exec(f"async def example({', '.join(names)}):\n{body}", scope)
    variables: dict[str, Any] = await scope["example"](**names)
    return variables


@pytest.mark.acceptance("G03", "G32")
async def test_basic_usage(line: Trunkline, up: FakeUpstream) -> None:
    """The first example: system prompt, parameters, a user who pays."""
    users = Users()
    found = await run(BASIC, user_service=users)
    assert (found["content"], found["thoughts"]) == ("Hello.", None)
    assert up.requests[0].json()["max_tokens"] == 500
    assert [said[:2] for said in users.said] == [("require", "user-123"), ("add", "user-123")]


@pytest.mark.acceptance("G32")
async def test_without_user_tracking(line: Trunkline) -> None:
    """The second example: an internal operation."""
    found = await run(WITHOUT_USER, call_llm=trunkline.call_llm)
    assert found["content"] == "Hello."


@pytest.mark.acceptance("G32")
async def test_streaming(line: Trunkline, capsys: pytest.CaptureFixture[str]) -> None:
    """The third example prints the story."""
    await run(STREAMING)
    assert capsys.readouterr().out == "Hello."


@pytest.mark.acceptance("G03")
async def test_the_migrated_call(line: Trunkline) -> None:
    """The 'after' of the seed's migration guide, through the application's one-line module."""
    users = Users()
    found = await run(MIGRATED, user_service=users, user_id="u-1")
    assert found["content"] == "Hello."
    assert sys.modules["services.llm_service"].call_llm is trunkline.call_llm


@pytest.mark.acceptance("G31")
async def test_my_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed's way to test a feature: patch `my_module.call_llm` with an AsyncMock."""
    my_module = types.ModuleType("my_module")
    exec(
        "from trunkline import call_llm\n"
        "async def my_function():\n"
        "    content, _ = await call_llm('openai', 'gpt-4', messages=[], parameters={})\n"
        "    return content\n",
        vars(my_module),
    )
    monkeypatch.setitem(sys.modules, "my_module", my_module)
    expected = "Test response"
    # From here on the seed's lines.
    with patch("my_module.call_llm", new_callable=AsyncMock) as mock:
        mock.return_value = ("Test response", None)
        result = await my_module.my_function()
        assert result == expected
        mock.assert_called_once()
