"""The `acceptance` marker: which rows of `acceptance/rows.toml` are proven by tests that passed.

A test names the rows it proves, `@pytest.mark.acceptance("G05", "K17")`. A row counts as proven
when every test of the run that names it passed; one failed or skipped test unproves it. An id that
is not a row is a collection error. The rows travel in `user_properties`, so the report is the same
with and without xdist.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROWS_FILE = Path(__file__).with_name("acceptance") / "rows.toml"
PROPERTY = "acceptance"
GOOD = {"passed"}

Verdicts = dict[str, set[str]]  # row id -> outcomes of the tests that name it


def read_rows(path: Path = ROWS_FILE) -> dict[str, str]:
    """Read the rows: id to one-line requirement."""
    rows: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def named_rows(item: pytest.Item) -> list[str]:
    """List the row ids the markers of a test name, its class's and module's included."""
    return [str(row) for mark in item.iter_markers("acceptance") for row in mark.args]


class Tally:
    """Collects one verdict per test and tells proven from unproven rows."""

    def __init__(self, rows: dict[str, str]) -> None:
        self.rows = rows
        self.verdicts: Verdicts = {}

    def add(self, report: pytest.TestReport) -> None:
        """Count the call phase, and a set-up or tear-down that did not go well."""
        if report.when != "call" and report.outcome == "passed":
            return
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        for key, row in report.user_properties:
            if key == PROPERTY:
                self.verdicts.setdefault(str(row), set()).add(outcome)

    def proven(self) -> list[str]:
        """List the rows with at least one test, all of which passed."""
        return [row for row in self.rows if self.verdicts.get(row) == GOOD]

    def broken(self) -> list[str]:
        """List the rows that have tests of which one did not pass."""
        return [row for row in self.rows if self.verdicts.get(row, GOOD) != GOOD]

    def untested(self) -> list[str]:
        """List the rows no test of this run names."""
        return [row for row in self.rows if row not in self.verdicts]


TALLY = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--acceptance-report`."""
    parser.addoption(
        "--acceptance-report",
        action="store_true",
        help="list the acceptance rows proven and not proven by this run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the rows once per process."""
    config.stash[TALLY] = Tally(read_rows())


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Any:
    """Refuse unknown ids where they stand, as an error of that file's collection."""
    made = yield
    rows = collector.config.stash[TALLY].rows
    found = made if isinstance(made, list) else [made]
    for item in (node for node in found if isinstance(node, pytest.Item)):
        named = named_rows(item)
        unknown = sorted(set(named) - rows.keys())
        if unknown:
            names = ", ".join(unknown)
            raise pytest.Collector.CollectError(f"{item.nodeid}: no such acceptance row: {names}")
        item.user_properties.extend((PROPERTY, row) for row in named)
    return made


class _Reporter:
    """Hears the reports where they all arrive: in the only process, or in xdist's controller."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tally.add(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        tally, write = self.tally, terminalreporter.write_line
        proven, broken, untested = tally.proven(), tally.broken(), tally.untested()
        terminalreporter.section("acceptance")
        write(f"proven: {len(proven)} of {len(tally.rows)}")
        write(_wrapped(proven))
        write(f"not proven: {len(broken) + len(untested)}, of which tested: {len(broken)}")
        for row in broken:
            outcomes = ", ".join(sorted(tally.verdicts[row] - GOOD))
            write(f"  {row} {tally.rows[row]} [{outcomes}]")
        write(f"  without a test in this run: {len(untested)}")
        write(_wrapped(untested))


def _wrapped(rows: list[str], width: int = 24) -> str:
    lines = [" ".join(rows[at : at + width]) for at in range(0, len(rows), width)]
    return "\n".join(f"  {line}" for line in lines or ["none"])


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Attach the reporter when the report is asked for."""
    config = session.config
    if config.getoption("--acceptance-report") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reporter(config.stash[TALLY]), "acceptance-reporter")
