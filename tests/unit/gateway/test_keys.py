"""Keys: made once, kept to their owner, looked up by digest."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trunkline.config import Key
from trunkline.errors import ConfigError, Unauthorized
from trunkline.gateway import keys
from trunkline.gateway.holders import Holder
from trunkline.gateway.keys import KeyRing, admin_key, secret
from trunkline.observability.redact import MASK, scrub
from trunkline.testing import ManualClock
from trunkline.types import Principal, Secret

ADMIN = "tl-admin-for-tests-only"
CI = "sk-ci-0123456789abcdef"


@pytest.fixture
def ring() -> KeyRing:
    """The administrator's key, and one that may ask for one model."""
    return KeyRing(b"p" * 32, ADMIN, [Key(name="ci", secret=Secret(CI), models=("m",))])


def test_the_admin_key_is_made_once(tmp_path: Path) -> None:
    """The first start makes it, later ones read it; only the owner can; no draft stays behind."""
    folder = tmp_path / "new"
    key, made = admin_key({}, folder)
    assert made
    assert admin_key({}, folder) == (key, False)
    assert key.startswith("tl-admin-")
    assert len(key) > 32
    assert stat.S_IMODE((folder / "admin.key").stat().st_mode) == 0o600
    assert [file.name for file in folder.iterdir()] == ["admin.key"]
    assert scrub(f"key {key}.") == f"key {MASK}."


def test_a_key_that_is_only_looked_for(tmp_path: Path) -> None:
    """None is made; what there is, is found."""
    with pytest.raises(ConfigError, match="not known here; set TRUNKLINE_ADMIN_KEY"):
        admin_key({}, tmp_path, make=False)
    assert not any(tmp_path.iterdir())
    key, _ = admin_key({}, tmp_path)
    assert admin_key({}, tmp_path, make=False) == (key, False)


def test_of_several_starts_at_once_one_makes_the_key(tmp_path: Path) -> None:
    """All agree on the key, and only one shows it."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: admin_key({}, tmp_path), range(64)))
    assert len({key for key, _ in found}) == 1
    assert [made for _, made in found].count(True) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["admin.key"]


def test_a_crash_while_making_a_key_changes_none(tmp_path: Path) -> None:
    """A draft that is a link to the key, of a process with our number, is never written to."""
    key, _ = admin_key({}, tmp_path)
    os.link(tmp_path / "admin.key", tmp_path / f"admin.key.{os.getpid()}")
    assert admin_key({}, tmp_path) == (key, False)


def test_the_environment_comes_first(tmp_path: Path) -> None:
    """What it says is taken as it is, and nothing is written."""
    environ = {"TRUNKLINE_ADMIN_KEY": f" {ADMIN} ", "TRUNKLINE_SECRET": "s" * 32}
    assert admin_key(environ, tmp_path / "no") == (ADMIN, False)
    assert secret(environ, tmp_path / "no") == b"s" * 32
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("given", ["short", "ключ-из-многих-букв"])
def test_an_admin_key_that_is_no_good(tmp_path: Path, given: str) -> None:
    """Too short, or one that no header can carry; the value is not repeated."""
    with pytest.raises(ConfigError, match="at least 16, of ASCII only") as caught:
        admin_key({"TRUNKLINE_ADMIN_KEY": given}, tmp_path)
    assert given not in str(caught.value)


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    """The error says how long it has to be."""
    with pytest.raises(ConfigError, match="TRUNKLINE_SECRET: found 5 bytes; write at least 32"):
        secret({"TRUNKLINE_SECRET": "short"}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff" * 40])
def test_a_key_file_without_a_key(tmp_path: Path, content: bytes) -> None:
    """It is said, never taken for a key, never overwritten."""
    file = tmp_path / "admin.key"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"admin\.key: found no key; remove the file"):
        admin_key({}, tmp_path)
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the file and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="make the folder writable, or set TRUNKLINE_DATA"):
        admin_key({}, tmp_path / "file")


def test_the_secret_is_kept(tmp_path: Path) -> None:
    """Digests are the same after a restart."""
    assert secret({}, tmp_path) == secret({}, tmp_path)
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {CI}"},
        {"authorization": f"bearer   {CI} "},
        {"x-api-key": CI},
        {"api-key": CI},
        {"authorization": "Basic dTpw", "x-api-key": CI},
        {"authorization": "Bearer ", "x-api-key": CI},
        {"authorization": f"Bearer {CI}", "x-api-key": ADMIN},
        {"x-api-key": CI, "api-key": ADMIN},
    ],
)
def test_where_a_key_is_looked_for(ring: KeyRing, headers: dict[str, str]) -> None:
    """Bearer, then `x-api-key`, then `api-key`; a second look is as good as the first."""
    for _ in range(2):
        holder = ring.holder(headers)
        assert (holder.name, holder.admin) == ("ci", False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": " "},
        {"authorization": CI},
        {"authorization": f"Bearer {CI}x"},
        {"x-api-key": "\xff\udc80"},
        {"authorization": f"Bearer {ADMIN}, Bearer {CI}"},
    ],
)
def test_nobody(ring: KeyRing, headers: dict[str, str]) -> None:
    """No key and a wrong key are both refused, also the second time; a key is not repeated."""
    for _ in range(2):
        with pytest.raises(Unauthorized) as caught:
            ring.holder(headers)
        assert CI not in str(caught.value)


def test_no_key_is_kept_as_it_is(ring: KeyRing) -> None:
    """The ring holds digests, and those depend on the secret."""
    other = KeyRing(b"q" * 32, ADMIN, [])
    assert not set(ring._holders) & set(other._holders)
    assert all(len(digest) == 32 for digest in ring._holders)


def test_remembered_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys are never remembered, right ones only so many."""
    monkeypatch.setattr(keys, "_MOST_REMEMBERED", 3)
    many = [Key(name=f"k{n}", secret=Secret(f"{CI}{n}"), models=()) for n in range(9)]
    ring = KeyRing(b"p" * 32, ADMIN, many)
    for n in range(9):
        assert ring.holder({"x-api-key": f"{CI}{n}"}).name == f"k{n}"
        with pytest.raises(Unauthorized):
            ring.holder({"x-api-key": f"wrong-{n}"})
        assert len(ring._remembered) <= 3


def test_a_renewed_ring(ring: KeyRing) -> None:
    """Other keys, the same administrator; a key that went is refused, remembered or not."""
    ring.holder({"x-api-key": CI})
    new = ring.renewed([Key(name="new", secret=Secret(f"{CI}-new"))])
    assert new.holder({"x-api-key": f"{CI}-new"}).name == "new"
    assert new.holder({"x-api-key": ADMIN}).admin
    with pytest.raises(Unauthorized):
        new.holder({"x-api-key": CI})
    assert ring.holder({"x-api-key": CI}).name == "ci"


def test_keys_made_at_run_time(ring: KeyRing) -> None:
    """They come and go by themselves; other declared keys leave them alone."""
    made = {ring._digest("tl-made"): Holder(name="made", principal=Principal(key_id="key_1"))}
    with pytest.raises(Unauthorized):
        ring.holder({"x-api-key": "tl-made"})
    ring.follow(made)
    for each in (ring, ring.renewed([])):
        assert each.holder({"x-api-key": "tl-made"}).id == "key_1"
    ring.follow({})
    with pytest.raises(Unauthorized, match="not known"):
        ring.holder({"authorization": "Bearer tl-made"})
    assert ring.holder({"x-api-key": CI}).name == "ci"


def test_no_made_key_takes_a_declared_ones_place(ring: KeyRing) -> None:
    """What the configuration says about a key counts."""
    thief = Holder(name="thief", principal=Principal(key_id="key_1"), role="admin")
    ring.follow({ring._digest(CI): thief, ring._digest(ADMIN): thief})
    assert ring.holder({"x-api-key": CI}).name == "ci"
    assert ring.holder({"x-api-key": ADMIN}).name == "admin"


def test_an_expired_key() -> None:
    """Good until its moment, remembered or not, and refused from then on with that moment."""
    clock = ManualClock()
    ring = KeyRing(b"p" * 32, ADMIN, [], clock)
    ends_ns = clock.now_ns() + 10 * 10**9
    holder = Holder(name="k", principal=Principal(key_id="key_1"), expires_ns=ends_ns)
    ring.follow({ring._digest("tl-short"): holder})
    headers = {"authorization": "Bearer tl-short"}
    for _ in range(2):
        assert ring.holder(headers).name == "k"
    clock.advance(9.999)
    assert ring.holder(headers).name == "k"
    clock.advance(0.001)
    with pytest.raises(Unauthorized, match=r"was good until 20\d\d-\d\d-\d\d .* UTC"):
        ring.holder(headers)
    assert ring.holder({**headers, "x-api-key": ADMIN}).admin


def test_no_key_takes_the_administrators_place() -> None:
    """Not even one with the same characters."""
    twin = Key(name="twin", secret=Secret(ADMIN))
    ring = KeyRing(b"s" * 32, ADMIN, [twin])
    assert ring.holder({"x-api-key": ADMIN}).admin


def test_any_of_the_keys_shown_will_do() -> None:
    """SDKs add a made-up one of their own beside the header that was configured."""
    ring = KeyRing(b"s" * 32, ADMIN, [])
    assert ring.holder({"authorization": "Bearer unused", "x-api-key": ADMIN}).admin
    with pytest.raises(Unauthorized, match="not known"):
        ring.holder({"authorization": "Bearer unused", "x-api-key": "neither"})
