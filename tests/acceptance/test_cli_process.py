"""The command line as processes: signals, pipes, terminals, warnings."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from trunkline.cli import main; main()"]


def start(*args: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start the command line, warnings as errors."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*COMMAND, *args], env=environment, **{**pipes, **options})


@pytest.mark.parametrize("command", ["models", "status", "usage", "check", "init", "call"])
def test_a_process_is_free_of_warnings(command: str) -> None:
    """With warnings as errors; not a terminal, and no colour."""
    out, err = start(command).communicate(b"hi", timeout=30)
    assert out
    assert b"\x1b" not in out
    assert err == b""


def test_ctrl_c_is_quiet() -> None:
    """What came stays; the exit code is the shells' 130; no traceback."""
    process = start("call", "/demo tokens 100\n/demo slow 0.2")
    assert process.stdout is not None
    begun = os.read(process.stdout.fileno(), 100)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (begun + out).startswith(b"demo")
    assert (process.returncode, err) == (130, b"")


def test_the_reader_of_the_output_leaves() -> None:
    """As `head` does: the call ends, without a traceback."""
    process = start("call", "/demo tokens 100\n/demo slow 0.05")
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 100)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, b"")


@pytest.mark.parametrize(("keys", "code"), [(b"\x03", 130), (b"\x04", 0), (b"/exit\n", 0)])
def test_chat_on_a_terminal(keys: bytes, code: int) -> None:
    """It greets, prompts, answers and prompts again; Ctrl-C, Ctrl-D and /exit end it quietly."""
    ours, theirs = pty.openpty()
    process = start(
        "chat",
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(theirs)
    seen = b""
    for awaited, answer in ((b"> ", b"/demo echo pong\n"), (b"pong\r\n> ", b"")):
        while not seen.endswith(awaited):
            seen += os.read(ours, 1000)
        os.write(ours, answer)
    for _ in range(10):  # what is typed before Python waits for it may be lost on it
        os.write(ours, keys)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)  # a second Ctrl-C while it ends kills it
            break
    assert process.poll() == code
    os.close(ours)
    assert seen.startswith(b"Talking through demo.")
    assert b"Traceback" not in seen


def own_terminal() -> None:
    """Make standard input the terminal whose Ctrl-C this process gets."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
