"""Environments of their own for tests of heavy packages: made once, with the versions of a file.

`tests/envs/NAME.txt` says what is installed, `tests/envs/NAME_behaviour.py` is what runs there. The
environment stands under `build/` and is made again when its file changes.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKING_S = 540
RUNNING_S = 240


def prepared(name: str) -> Path:
    """Return the interpreter of the environment `name`; make it when it is missing or old."""
    wanted = ROOT / "tests/envs" / f"{name}.txt"
    place = ROOT / "build/envs" / name
    place.mkdir(parents=True, exist_ok=True)
    stamp, python = place / "made", place / "venv/bin/python"
    said = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # xdist's workers take turns
        if stamp.exists() and stamp.read_text() == said:
            return python
        stamp.unlink(missing_ok=True)
        install = ("-m", "pip", "install", "--quiet", "--no-deps", "--requirement", wanted)
        for command in (
            (sys.executable, "-m", "venv", "--clear", place / "venv"),
            (python, *install),
        ):
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=MAKING_S
            )
            if done.returncode:
                pytest.skip(f"the environment {name} cannot be made: {done.stderr[-2000:]}")
        stamp.write_text(said)
    return python


def run(name: str) -> str:
    """Run the tests of the environment `name` there; return what pytest says of them."""
    folder = ROOT / "tests/envs"
    arguments = ("-c", folder / "pytest.ini", "--rootdir", folder, "-q", "-rs")
    done = subprocess.run(
        [prepared(name), "-m", "pytest", *arguments, folder / f"{name}_behaviour.py"],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=RUNNING_S,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    return done.stdout
