"""A place that is filled anew: pauses that grow, memory settings, a child that does not listen."""

import os
import sys
import time
from typing import Any

import pytest

from trunkline.gateway import children
from trunkline.gateway.children import Child

CHATTY = "import os; os.write(0, b'r')\nwhile os.read(0, 9): pass"
DEAF = "import time; time.sleep(60)"
SHOWS = "import os; os.write(0, os.environ.get('MALLOC_TOP_PAD_', '-').encode() + b' ')"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose what the children run, and what they are told."""
    told: list[dict[str, Any]] = []

    def choose(text: str) -> list[dict[str, Any]]:
        def python(module: str, more: dict[str, Any]) -> list[str]:
            told.append(more)
            return [sys.executable, "-S", "-c", text]

        monkeypatch.setattr(children, "python", python)
        return told

    return choose


def ended(child: Child) -> str:
    """Wait until its process has ended."""
    until_s = time.monotonic() + 20
    while (how := child.died()) is None:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    return how


def test_a_life(program: Any) -> None:
    """It says that it is ready, ends when the link does, and its successor knows to be one."""
    told = program(CHATTY)
    child = Child("worker", {"url": "u"}, None)
    for _ in range(2):
        child.start(b"")
        child.hear()
        assert child.ready
        assert child.died() is None
        child.hang_up()
        assert ended(child).endswith("ended with exit code 0")
        assert not child.ready
    assert told == [{"url": "u", "restarts": 0}, {"url": "u", "restarts": 1}]


def test_pauses_grow_and_are_forgotten() -> None:
    """At once, then 0.1 s doubling to 5 s."""
    child = Child("worker", {}, None)
    pauses = []
    for _ in range(9):
        child.wait(100.0)
        pauses.append(round(child.due_s - 100.0, 3))
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_good_life_resets_the_pauses(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lived for long is followed at once."""
    monkeypatch.setattr(children, "_GOOD_LIFE_S", 0.0)
    program("pass")
    child = Child("worker", {}, None)
    for _ in range(3):
        child.start(b"")
        ended(child)
        assert child.due_s <= time.monotonic()


def test_who_does_not_take_a_configuration_is_ended(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one starts with it."""
    monkeypatch.setattr(children, "_SEND_S", 0.2)
    program(DEAF)
    child = Child("worker", {}, None)
    child.start(b"")
    child.send(b"x" * 4_000_000)
    assert ended(child).endswith("ended by SIGKILL")
    child.send(b"")  # nobody is there


def test_who_dies_at_once_hurts_nobody(program: Any) -> None:
    """However large what it should have been told."""
    program("pass")
    child = Child("worker", {}, None)
    child.start(b"x" * 4_000_000)
    child.hear()
    assert not child.ready
    ended(child)


@pytest.mark.parametrize("given", [None, "7"])
def test_memory_settings(program: Any, monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    """A worker, which has a listener, gets ours unless the environment has its own."""
    import socket

    if given:
        monkeypatch.setenv("MALLOC_TOP_PAD_", given)
    program(SHOWS)
    with socket.socket() as listener:
        said = []
        for mine in (listener, None):
            child = Child("worker", {}, mine)
            child.start(b"")
            assert child.link is not None
            shown = b""
            while not shown.endswith(b" "):
                shown += child.link.recv(100)
            said.append(shown.decode().strip())
            ended(child)
    assert said == [given or "1048576", os.environ.get("MALLOC_TOP_PAD_", "-")]
