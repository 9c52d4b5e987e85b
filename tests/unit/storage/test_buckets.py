"""Buckets in a file: the same for all processes, whatever becomes of one of them."""

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.buckets import BucketsMachine, now, taken
from trunkline.accounting.rates import Buckets, Draw
from trunkline.storage import buckets as module
from trunkline.storage.buckets import FileBuckets


class InFile(BucketsMachine):
    """Buckets in a file, opened anew by another object at each use."""

    def open(self, now_ns: Callable[[], int]) -> Buckets:
        """Return buckets in a new file."""
        self.folder = tempfile.TemporaryDirectory()
        return FileBuckets(Path(self.folder.name) / "data" / "buckets", now_ns)

    def teardown(self) -> None:
        """Remove the file."""
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestInFile = InFile.TestCase
TestInFile.settings = settings(max_examples=50)


def draw(units: int = 1, per_minute: int = 10, bucket: str = "user:a requests") -> Draw:
    """Ask for some of a bucket of ten."""
    return Draw(bucket, per_minute, units)


def test_who_opens_the_file_shares_the_buckets(tmp_path: Path) -> None:
    """And so does who opens it later; a bucket outlives those who use it."""
    path = tmp_path / "buckets"
    first, second = FileBuckets(path, lambda: 0), FileBuckets(path, lambda: 0)
    assert taken(now(first.take([draw(6)])))
    assert not taken(now(second.take([draw(5)])))
    assert taken(now(second.take([draw(4)])))
    first.close()
    second.close()
    third = FileBuckets(path, lambda: 0)
    assert not taken(now(third.take([draw()])))
    third.give_back([draw(3)])
    assert taken(now(third.take([draw(3)])))
    third.close()


def test_a_process_that_stands_still_stops_nobody(tmp_path: Path) -> None:
    """Its lock is done without after a moment, and after that at once."""
    path = tmp_path / "buckets"
    buckets = FileBuckets(path, lambda: 0)
    now(buckets.take([draw()]))
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began_s = time.monotonic()
        assert taken(now(buckets.take([draw(8)])))
        first_s = time.monotonic() - began_s
        assert 0.02 <= first_s < 5
        assert taken(now(buckets.take([draw()])))
        assert time.monotonic() - began_s - first_s < first_s
    assert not taken(now(buckets.take([draw()])))
    buckets.close()


def test_a_process_that_stands_still_lets_others_open_the_file(tmp_path: Path) -> None:
    """Also one that has only made it."""
    path = tmp_path / "buckets"
    buckets = FileBuckets(path, lambda: 0)
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        end = threading.Timer(5, fcntl.flock, (other, fcntl.LOCK_UN))
        end.start()
        began_s = time.monotonic()
        assert taken(now(buckets.take([draw(10)])))
        assert time.monotonic() - began_s < 4
        end.cancel()
        end.join()
    assert not taken(now(buckets.take([draw()])))
    buckets.close()


def test_a_forked_child_shares_them_too(tmp_path: Path) -> None:
    """By a lock of its own."""
    buckets = FileBuckets(tmp_path / "buckets", lambda: 0)
    now(buckets.take([draw(3)]))
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if taken(now(buckets.take([draw(6)]))) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert taken(now(buckets.take([draw(1)])))
    assert not taken(now(buckets.take([draw(1)])))
    buckets.close()


def test_where_no_file_can_be_each_process_counts_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, calls go on, and now and then it is tried again."""
    monkeypatch.setattr(module, "_REST_S", 0.0)
    (tmp_path / "data").write_text("a file")
    buckets = FileBuckets(tmp_path / "data" / "buckets", lambda: 0)
    assert taken(now(buckets.take([draw(10)])))
    assert not taken(now(buckets.take([draw()])))
    buckets.give_back([draw()])
    assert taken(now(buckets.take([draw()])))
    assert buckets.trouble == "rate limits hold for each process by itself"
    assert len(caplog.records) == 1
    (tmp_path / "data").unlink()
    assert taken(now(buckets.take([draw(10)])))
    assert not buckets.trouble
    buckets.close()


def test_a_crowd_of_names_pushes_out_full_ones_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is in use stays while others are full again."""
    monkeypatch.setattr(module, "_SETS", 1)
    module._place.cache_clear()
    at_s = 0
    buckets = FileBuckets(tmp_path / "buckets", lambda: at_s * 10**9)
    now(buckets.take([draw(10, per_minute=1)]))
    for at_s in range(0, 500, 70):
        now(buckets.take([draw(1, per_minute=1, bucket=f"user:{at_s}")]))
    assert not taken(now(buckets.take([draw(1, per_minute=1)])))
    buckets.close()
    module._place.cache_clear()


def test_the_file_is_for_its_user_only(tmp_path: Path) -> None:
    """And there at its full size: a hole in it could find no room on the disk later."""
    buckets = FileBuckets(tmp_path / "buckets")
    now(buckets.take([draw()]))
    found = (tmp_path / "buckets").stat()
    assert found.st_mode & 0o777 == 0o600
    assert found.st_blocks * 512 >= found.st_size
    buckets.close()
