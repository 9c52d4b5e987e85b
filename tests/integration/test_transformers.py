"""The Transformers backend with the real packages, in an environment of its own."""

import pytest

from tests.environments import run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.acceptance("A04")
def test_a_model_answers_in_this_process() -> None:
    """All of `tests/envs/transformers_behaviour.py` passes there, and nothing is skipped."""
    assert " passed" in (said := run("transformers"))
    assert "skipped" not in said
