"""What litellm's loggers say reaches ours, scrubbed; the rest is in `tests/envs`."""

import logging
from collections.abc import Iterator

import pytest

from trunkline.observability.litellm import LOGGERS, quiet


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = {name: (logging.getLogger(name).handlers[:]) for name in LOGGERS}
    yield
    for name, handlers in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).propagate = True


@pytest.mark.parametrize("name", LOGGERS)
def test_a_warning_of_litellms_is_one_of_ours(
    name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without credentials; debug records, which hold prompts, go nowhere; nothing is printed."""
    theirs = logging.getLogger(name)
    theirs.addHandler(logging.StreamHandler())
    theirs.setLevel(logging.DEBUG)
    quiet()
    quiet()
    theirs.debug("the prompt")
    theirs.warning("no price for %s with sk-abcdefgh12345678", "m")
    [record] = caplog.records
    assert (record.name, record.levelname) == ("trunkline", "WARNING")
    assert record.getMessage() == f"{name}: no price for m with ***"
    assert capfd.readouterr() == ("", "")
