import sys
from pathlib import Path

from bench.rig.processes import Cpu, Hop, parent, started, told_port, tree, wait_until

SPAWNS = """
import subprocess, sys
busy = "import time; sum(range(2_000_000)); print(1, flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


def ended(pid: int) -> bool:
    """Whether there is no such process, or one that nobody has reaped yet."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_parent_is_found_whatever_a_program_is_called() -> None:
    """The name in /proc/PID/stat may hold blanks and brackets."""
    assert parent("42 (a) b (c) S 7 42 42 0 -1") == 7


def test_what_a_child_spends_is_counted_and_no_child_is_left() -> None:
    """CPU and memory are those of the whole tree; leaving ends all of it."""
    with started([sys.executable, "-c", SPAWNS], core=None) as process:
        own = Hop(process.pid, 0)
        cpu = Cpu(own)
        child = told_port(process)  # it tells a number
        assert tree(process.pid) == [process.pid, child]
        assert cpu.us() > 1000
        assert own.rss_mb() > Hop(child, 0).rss_mb() > 1
    assert process.returncode is not None
    wait_until("the child's end", lambda: ended(child))
