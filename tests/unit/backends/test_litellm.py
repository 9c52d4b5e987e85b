"""The litellm backend where litellm is not installed; `tests/envs` has what it does with it."""

import sys

import pytest

from tests.unit.backends.asking import ask, chat
from trunkline.backends import litellm
from trunkline.errors import ConfigError


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    litellm._library.cache_clear()


async def test_without_the_package_the_message_says_what_to_install() -> None:
    """Named by its extra; nothing was sent."""
    with pytest.raises(ConfigError, match=r"pip install 'trunkline\[litellm\]'"):
        await ask(chat("hi"), "litellm")
