"""Nothing is passed over unseen where everything is expected to be there."""

import pytest

SKIPS = """
    import pytest

    @pytest.mark.skipif(True, reason="no curl")
    def test_marked(): ...

    def test_by_itself():
        pytest.skip("no recordings")
"""


@pytest.mark.parametrize(("ci", "skipped", "failed"), [("", 2, 0), ("true", 0, 2)])
def test_a_skip_fails_in_ci_only(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    ci: str,
    skipped: int,
    failed: int,
) -> None:
    """Marked or decided as it runs; the reason is told."""
    monkeypatch.setenv("CI", ci)
    pytester.makepyfile(SKIPS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take a second to load
    run = pytester.runpytest_inprocess("-p", "tests.no_skips")
    outcomes = run.parseoutcomes()
    assert outcomes.get("skipped", 0) == skipped
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == failed
    if failed:
        run.stdout.fnmatch_lines(["*which CI does not allow*no curl*"])
