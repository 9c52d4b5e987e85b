"""The registry under two processes at once."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.unit.gateway.registries import registry
from trunkline.storage.snapshot import snapshot
from trunkline.storage.sqlite import SqliteDatabase

PROCESS = """
import sys
from pathlib import Path
from tests.unit.gateway.registries import registry
from trunkline.errors import Conflict
from trunkline.storage.sqlite import SqliteDatabase

database = SqliteDatabase(Path(sys.argv[1]))
made, won = registry(database), 0
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    try:
        made.create("users", {"id": f"u{n}"})
        won += 1
    except Conflict:
        pass
    made.create("keys", {"name": "k", "user_id": f"u{n}"})
database.close()
print(won)
"""


def test_two_processes_make_each_user_once(tmp_path: Path) -> None:
    """One of them does, the other hears that it is there; no change is lost."""
    path = tmp_path / "trunkline.db"
    root = Path(__file__).parents[3]
    each = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        for _ in range(2)
    ]
    for process in each:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in each:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outs = [process.communicate(timeout=60)[0] for process in each]
    assert [process.returncode for process in each] == [0, 0]
    assert sum(map(int, outs)) == 40
    with closing(SqliteDatabase(path)) as database:
        made = registry(database)
        assert len(snapshot(database).keys) == 80
        assert snapshot(database).version == 120
        assert len(made.page("users")["data"]) == 40
