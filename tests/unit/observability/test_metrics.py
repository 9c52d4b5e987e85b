"""Records become counters and histograms, told in a format that a strict reader takes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.journal_records import begun, called, ended
from trunkline.clock import SystemClock
from trunkline.journal import Journal, ingest
from trunkline.observability import metrics as module
from trunkline.observability.metrics import FAMILIES, Gauge, Metrics
from trunkline.observability.redact import know
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.types import Record, Usage
from trunkline.types.record import PROCESS_DIED

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.+)\}})? ([0-9.e+-]+|[+-]Inf|NaN)")
ENDINGS = {"histogram": ("_bucket", "_sum", "_count")}

Series = dict[tuple[str, ...], str]
"""(name, label values ...) -> the value as it was written."""


def parse(text: str) -> Series:
    """Read the text format 0.0.4 as strictly as it can be: each family once and in one place."""
    assert text.endswith("\n")
    found: Series = {}
    families: set[str] = set()
    for block in text.removeprefix("# HELP ").removesuffix("\n").split("\n# HELP "):
        about, kind_line, *samples = block.split("\n")
        family, _, told = about.partition(" ")
        assert re.fullmatch(NAME, family)
        assert family not in families
        assert re.fullmatch(r"(?:[^\\]|\\[\\n])+", told)
        families.add(family)
        head, kind = kind_line.rsplit(" ", 1)
        assert (head, kind in {"counter", "gauge", "histogram"}) == (f"# TYPE {family}", True)
        for line in samples:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            name, labels, value = sample.groups()
            assert name.removeprefix(family) in ENDINGS.get(kind, ("",))
            pairs = LABEL.findall(labels or "")
            assert LABEL.sub("", labels or "") == ""
            assert len(dict(pairs)) == len(pairs)
            key = (name, *(unescape(text) for _, text in pairs))
            assert key not in found
            found[key] = value
    return found


def unescape(text: str) -> str:
    """Return what an escaped label says."""
    meant = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}
    return re.sub(r"\\.", lambda found: meant[found[0]], text)


def told(*records: Record, gauges: Sequence[Gauge] = ()) -> Series:
    """Return what fresh metrics say of records, without our prefix."""
    metrics = Metrics()
    metrics.observe(records)
    return said(metrics, *gauges)


def said(metrics: Metrics, *gauges: Gauge) -> Series:
    """Return what metrics say, without our prefix and the buckets."""
    return {
        (name.removeprefix("trunkline_"), *labels): value
        for (name, *labels), value in parse(metrics.render(gauges)).items()
        if not name.endswith("_bucket")
    }


def test_nothing_yet() -> None:
    """Every family has its head, and no sample is invented."""
    text = Metrics().render()
    assert parse(text) == {}
    assert text.count("# TYPE") == len(FAMILIES)


def test_a_call_and_its_attempts() -> None:
    """Each attempt counts for its own deployment, the call for the last one."""
    usage = Usage(
        prompt_tokens=10,
        completion_tokens=5,
        cache_read_tokens=4,
        cache_write_tokens=3,
        cache_write_1h_tokens=2,
        reasoning_tokens=1,
    )
    series = told(
        begun(deployment="a/m"),
        begun(n=2, deployment="b/m", hold_nusd=100),
        ended(outcome="failed", error_code="overloaded", cost_nusd=0, usage=Usage()),
        ended(n=2, usage=usage, cost_nusd=2_000_000_120, cost_state="estimated"),
        called(deployment="b/m", attempts=2, latency_ms=1500.0, first_token_ms=250.0),
    )
    assert series == {
        ("calls_total", "b/m", "complete", ""): "1",
        ("attempts_total", "a/m", "failed", "overloaded"): "1",
        ("attempts_total", "b/m", "complete", ""): "1",
        ("tokens_total", "b/m", "prompt"): "10",
        ("tokens_total", "b/m", "completion"): "5",
        ("tokens_total", "b/m", "cache_read"): "4",
        ("tokens_total", "b/m", "cache_write"): "3",
        ("tokens_total", "b/m", "reasoning"): "1",
        ("cost_usd_total", "b/m", "estimated"): "2.000000120",
        ("attempt_overrun_usd_total", "b/m"): "2.000000020",
        ("call_seconds_sum", "b/m"): "1.5",
        ("call_seconds_count", "b/m"): "1",
        ("first_token_seconds_sum", "b/m"): "0.25",
        ("first_token_seconds_count", "b/m"): "1",
    }


def test_money_is_exact() -> None:
    """A sum of a hundred thousand odd amounts loses nothing, where a float would."""
    metrics = Metrics()
    for number in range(1000):
        batch = [begun(f"{number}-{n}") for n in range(100)]
        metrics.observe([*batch, *(ended(b.call_id, cost_nusd=10**11 + 1) for b in batch)])
    assert said(metrics)["cost_usd_total", "openai/gpt-4o", "exact"] == "10000000.000100000"


def test_an_unknown_cost_is_not_zero() -> None:
    """It is counted apart, and no money is told."""
    series = told(begun(hold_nusd=None), ended(cost_nusd=None, cost_state="unknown"))
    assert series["unknown_price_attempts_total", "openai/gpt-4o"] == "1"
    assert not any(name.startswith("cost") for name, *_ in series)


@pytest.mark.parametrize("hold_nusd", [None, 120, 500])
def test_what_stays_within_its_hold_is_no_overrun(hold_nusd: int | None) -> None:
    """Nor is a cost where nobody could say what to hold."""
    series = told(begun(hold_nusd=hold_nusd), ended(cost_nusd=120))
    assert "attempt_overrun_usd_total" not in {name for name, *_ in series}


def test_decisions_on_the_way() -> None:
    """Of the words of a route those are counted that somebody decided."""
    route = (
        "a/m: skipped, lacks images",
        "b/m: asked as well after 0.20 s",
        "b/m: connection_lost in its answer",
        "c/m: output_capped 40",
        "c/m: budget_cut",
        "c/m: answered",
    )
    counts = {key[1:]: value for key, value in told(called(route=route)).items() if len(key) == 3}
    assert counts == {
        ("a/m", "skipped"): "1",
        ("b/m", "hedged"): "1",
        ("b/m", "continued"): "1",
        ("c/m", "output_capped"): "1",
        ("c/m", "budget_cut"): "1",
    }


def test_the_buckets_of_a_histogram() -> None:
    """Each holds all that took at most so long, the last one everything."""
    metrics = Metrics()
    metrics.observe([called(latency_ms=ms) for ms in (0.0, 50.0, 50.1, 599_999.0, 600_001.0)])
    series = parse(metrics.render())
    prefix = ("trunkline_call_seconds_bucket", "openai/gpt-4o")
    counts = [int(value) for key, value in series.items() if key[:2] == prefix]
    assert counts == [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5]
    assert (series[*prefix, "0.05"], series[*prefix, "600.0"], series[*prefix, "+Inf"]) == (
        "2",
        "4",
        "5",
    )
    assert series["trunkline_call_seconds_count", "openai/gpt-4o"] == "5"


def test_calls_that_say_little() -> None:
    """One without an attempt has no deployment, one of a dead process no duration."""
    series = told(
        called(deployment=None, outcome="failed", error_code="model_not_found", attempts=0),
        called(outcome="abandoned", error_code=PROCESS_DIED),
    )
    assert series == {
        ("calls_total", "none", "failed", "model_not_found"): "1",
        ("calls_total", "openai/gpt-4o", "abandoned", PROCESS_DIED): "1",
        ("call_seconds_sum", "none"): "0.0",
        ("call_seconds_count", "none"): "1",
    }


def test_an_end_whose_beginning_was_not_seen() -> None:
    """It is counted all the same; what has begun and never ends is forgotten in the end."""
    assert told(ended())["attempts_total", "unknown", "complete", ""] == "1"
    metrics = Metrics()
    metrics.observe([begun(f"c{n}") for n in range(module._MOST_OPEN + 1)])
    assert len(metrics._open) == module._MOST_OPEN
    metrics.observe([ended(f"c{n}") for n in range(module._MOST_OPEN + 1)])
    counts = {labels[0]: value for (name, *labels), value in said(metrics).items() if "att" in name}
    assert counts == {"unknown": "1", "openai/gpt-4o": str(module._MOST_OPEN)}
    assert metrics._open == {}


def test_names_are_bounded() -> None:
    """Callers may invent model names: a thousand are told apart, the rest is one."""
    metrics = Metrics()
    for number in range(1100):
        metrics.observe([called(deployment=f"p/{number}")])
    metrics.observe([called(deployment="p/7"), called(deployment="p/" + "x" * 10**6)])
    calls = {key[1]: value for key, value in said(metrics).items() if key[0] == "calls_total"}
    assert len(calls) == 1001
    assert (calls["p/7"], calls["other"]) == ("2", "101")


def test_names_that_are_no_names() -> None:
    """They are escaped, shortened, and hold no credential."""
    odd = 'p/"a"\\\n{}=,\u2028# HELP'
    assert ("calls_total", odd, "complete", "") in told(called(deployment=odd))
    know(["hunter2-hunter2"])
    for name in ("p/hunter2-hunter2", "p/" + "x" * 190 + "hunter2-hunter2" + "y" * 999):
        [shown] = [labels for label, *labels in told(called(deployment=name)) if "total" in label]
        assert "hunter2" not in shown[0]
        assert len(shown[0]) <= 200


def test_gauges() -> None:
    """Those of one name stand under one head, whatever their order."""
    gauges = [
        Gauge("open_requests", "Requests under way.", 3, (("worker", "1"),)),
        Gauge("ingest_lag_seconds", "How far the store\nis \\ behind.", 0.25),
        Gauge("open_requests", "Requests under way.", 4, (("worker", "2"),)),
    ]
    assert told(gauges=gauges) == {
        ("open_requests", "1"): "3",
        ("open_requests", "2"): "4",
        ("ingest_lag_seconds",): "0.25",
    }


def test_fed_by_ingestion_each_record_counts_once(tmp_path: Path) -> None:
    """As the docstring of `Metrics` shows it, also when the store fails in between."""
    metrics = Metrics()

    class Observed(Store):
        failing = True

        def apply(self, file: str, offset: int, records: Sequence[Record]) -> None:
            """Write rows and offset in one transaction."""
            if self.failing:
                raise OSError("not now")
            super().apply(file, offset, records)

    store = Observed(SqliteDatabase(tmp_path / "trunkline.db"), metrics.observe)
    journal = Journal(tmp_path / "journal", clock=SystemClock())
    journal.append(begun(), flush=True)
    journal.append(begun("left"), flush=True)
    with pytest.raises(OSError, match="not now"):
        ingest(tmp_path, store)
    store.failing = False
    for _ in range(2):
        ingest(tmp_path, store)
    journal.append(ended(), flush=False)
    journal.append(called(), flush=True)
    journal.close()
    for _ in range(2):
        ingest(tmp_path, store)
    store.close()
    totals: dict[str, Any] = {}
    for (name, *labels), value in said(metrics).items():
        totals.setdefault(name, []).append((labels[1:], value))
    assert totals["calls_total"] == [
        (["abandoned", PROCESS_DIED], "1"),
        (["complete", ""], "1"),
    ]
    assert totals["attempts_total"] == totals["calls_total"]
    assert totals["cost_usd_total"] == [(["estimated"], "0.000000500"), (["exact"], "0.000000120")]
