"""The litellm backend with the real litellm, in an environment of its own."""

import pytest

from tests.environments import run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_backend_behaves_with_the_real_package() -> None:
    """All of `tests/envs/litellm_behaviour.py` passes there, and nothing is skipped."""
    assert " passed" in (said := run("litellm"))
    assert "skipped" not in said
