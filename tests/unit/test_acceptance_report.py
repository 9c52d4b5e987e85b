"""The acceptance marker and its report, on small suites of their own."""

import pytest

INI = """
[pytest]
addopts = -p tests.acceptance_report -p xdist -p no:cacheprovider
markers =
    acceptance(*rows): rows
    slow: slow
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty suite that uses the plugin and the project's own rows."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take a second to load
    pytester.makeini(INI)
    return pytester


@pytest.mark.parametrize("workers", ["0", "2"], ids=["alone", "xdist"])
def test_row_needs_every_test_to_pass(suite: pytest.Pytester, workers: str) -> None:
    """Passed everywhere is proven; failed, skipped or broken in set-up once is not."""
    suite.makepyfile(
        """
        import pytest

        row = pytest.mark.acceptance

        @pytest.fixture
        def broken(): raise RuntimeError

        @row("G01")
        def test_a(): pass

        @row("G01", "G02")
        def test_b(): pass

        @row("G02")
        def test_c(): assert False

        @row("G03")
        def test_d(): pytest.skip("no")

        @row("G04")
        def test_e(broken): pass

        @row("G05")
        @pytest.mark.xfail
        def test_f(): assert False
        """
    )
    result = suite.runpytest_inprocess("--acceptance-report", "-n", workers)
    result.stdout.fnmatch_lines(
        ["*= acceptance =*", "proven: 1 of *", "  G01", "not proven: *"], consecutive=True
    )
    for line in ("G02*failed]", "G03*skipped]", "G04*failed]", "G05*xfailed]"):
        result.stdout.fnmatch_lines([f"  {line}"])
    result.stdout.fnmatch_lines(["  without a test in this run: *", "  G06 G07 *"])


def test_no_report_unless_asked(suite: pytest.Pytester) -> None:
    """A plain run stays as short as pytest makes it."""
    suite.makepyfile("import pytest\n@pytest.mark.acceptance('G01')\ndef test_a(): pass")
    suite.runpytest_inprocess().stdout.no_fnmatch_line("*acceptance*proven*")


@pytest.mark.parametrize("where", ["test", "class", "module"])
def test_unknown_row_is_a_collection_error(suite: pytest.Pytester, where: str) -> None:
    """A row that does not exist stops the file that names it, wherever the marker stands."""
    mark = "pytest.mark.acceptance('G99')"
    body = {
        "test": f"@{mark}\ndef test_a(): pass",
        "class": f"@{mark}\nclass TestA:\n    def test_a(self): pass",
        "module": f"pytestmark = {mark}\ndef test_a(): pass",
    }[where]
    suite.makepyfile(f"import pytest\n{body}")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no such acceptance row: G99*"])
