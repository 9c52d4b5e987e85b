"""What the journal's records add up to, in Prometheus's text format.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (2026-11-20)
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter

from msgspec import Struct

from trunkline.observability.redact import scrub
from trunkline.types import Begun, Called, Ended, Record
from trunkline.types.record import PROCESS_DIED

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "trunkline_"
_MOST_DEPLOYMENTS = 1000
_MOST_OPEN = 20_000
_LONGEST_NAME_CHARS = 200
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Labels = tuple[tuple[str, str], ...]


class Family(Struct, frozen=True, eq=False):
    """One metric; its name here is without the prefix."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class Gauge(Struct, frozen=True):
    """A value of this moment, which the records do not say; its name is without the prefix."""

    name: str
    help: str
    value: int | float
    labels: Labels = ()
    kind: str = "gauge"


_OUTCOME = ("deployment", "outcome", "code")
CALLS = Family("calls_total", "counter", _OUTCOME, "Calls that are over.")
ATTEMPTS = Family("attempts_total", "counter", _OUTCOME, "Attempts that are over.")
TOKENS = Family(
    "tokens_total",
    "counter",
    ("deployment", "kind"),
    "Tokens of attempts; prompt includes cache_read and cache_write, completion reasoning.",
)
COST = Family(
    "cost_usd_total",
    "counter",
    ("deployment", "state"),
    "What attempts cost in USD, where it is known.",
)
OVERRUN = Family(
    "attempt_overrun_usd_total",
    "counter",
    ("deployment",),
    "By how much attempts cost more in USD than was held for them.",
)
UNKNOWN_PRICE = Family(
    "unknown_price_attempts_total", "counter", ("deployment",), "Attempts whose cost is not known."
)
CALL_SECONDS = Family(
    "call_seconds", "histogram", ("deployment",), "How long calls took, all attempts included."
)
FIRST_TOKEN_SECONDS = Family(
    "first_token_seconds",
    "histogram",
    ("deployment",),
    "How long the last attempt of a call took to its first token.",
)
DECISIONS = Family(
    "decisions_total",
    "counter",
    ("deployment", "decision"),
    "What was done on the way of calls, for the deployment it was done to.",
)
FAMILIES = (
    CALLS,
    ATTEMPTS,
    TOKENS,
    COST,
    OVERRUN,
    UNKNOWN_PRICE,
    CALL_SECONDS,
    FIRST_TOKEN_SECONDS,
    DECISIONS,
)
"""All that `Metrics` knows by itself; `docs/reference/metrics.md` has the same."""

TOKEN_KINDS = ("prompt", "completion", "cache_read", "cache_write", "reasoning")
DECISION_KINDS = {
    "skipped": "skipped, ",
    "hedged": "asked as well after ",
    "continued": " in its answer",
    "output_capped": "output_capped ",
    "budget_cut": "budget_cut",
}
"""What is counted of `Called.route` -> how that is worded there, after the deployment's name."""
_token_counts = attrgetter(*(f"{kind}_tokens" for kind in TOKEN_KINDS))
_outcome = attrgetter("outcome", "error_code")

_MONEY = (COST, OVERRUN)
"""Counted in nano-USD, told in USD."""


class Histogram:
    """How many values were at most so large."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def add(self, values_ms: Iterable[float]) -> None:
        """Count some values, given in milliseconds."""
        for value_ms in values_ms:
            seconds = value_ms / 1000
            self.counts[bisect_left(_SECONDS, seconds)] += 1
            self.total += seconds


class Metrics:
    """Counts records since the process began; a restart begins from 0, as counters may.

    For one thread: there are no locks. Feed it each batch once, after the store has taken it:

        ingest(data_dir, Store(SqliteDatabase(data_dir / "trunkline.db"), metrics.observe))

    So a record is counted at most once, and not at all if another process brought it into the
    store, as one does that finds nobody to ask for it.

    Labels say nothing of callers but the model names they ask for, scrubbed and shortened; beyond
    1,000 deployments the rest is `other`.
    """

    def __init__(self) -> None:
        self._counters: dict[Family, defaultdict[tuple[str, ...], int]] = {
            family: defaultdict(int) for family in FAMILIES
        }
        self._histograms: dict[Family, defaultdict[str, Histogram]] = {
            family: defaultdict(Histogram) for family in FAMILIES
        }
        self._deployments: dict[str, str] = {}
        self._open: dict[tuple[str, int], tuple[str, int | None]] = {}
        """Attempts that have begun: their deployment and hold, which their end does not repeat."""

    def observe(self, records: Sequence[Record]) -> None:
        """Count a batch of records, those of one deployment together."""
        ended: defaultdict[str, list[tuple[Ended, int | None]]] = defaultdict(list)
        called: defaultdict[str, list[Called]] = defaultdict(list)
        for record in records:
            if isinstance(record, Begun):
                self._begun(record)
            elif isinstance(record, Ended):
                opened = self._open.pop((record.call_id, record.n), None)
                deployment, hold_nusd = opened or ("unknown", None)  # begun before this process
                ended[deployment].append((record, hold_nusd))
            else:
                name = record.deployment
                called["none" if name is None else self._deployment(name)].append(record)
        for deployment, ends in ended.items():
            self._ended(deployment, ends)
        for deployment, calls in called.items():
            self._called(deployment, calls)

    def render(self, gauges: Iterable[Gauge] = ()) -> str:
        """Return everything as text, `gauges` at the end; those of one name stand together."""
        lines: list[str] = []
        for family in FAMILIES:
            lines += _head(family.name, family.kind, family.help)
            for labels, count in sorted(self._counters[family].items()):
                value = _usd(count) if family in _MONEY else str(count)
                lines.append(_sample(family.name, zip(family.labels, labels, strict=True), value))
            for deployment, histogram in sorted(self._histograms[family].items()):
                lines += _buckets(family.name, deployment, histogram)
        named: dict[str, list[Gauge]] = {}
        for gauge in gauges:
            named.setdefault(gauge.name, []).append(gauge)
        for name, group in named.items():
            lines += _head(name, group[0].kind, group[0].help)
            lines += (_sample(name, gauge.labels, str(gauge.value)) for gauge in group)
        return "\n".join(lines) + "\n"

    def _begun(self, record: Begun) -> None:
        if len(self._open) >= _MOST_OPEN:  # ended in batches that were not shown to us
            del self._open[next(iter(self._open))]
        opened = self._deployment(record.deployment), record.hold_nusd
        self._open[record.call_id, record.n] = opened

    def _ended(self, deployment: str, ends: list[tuple[Ended, int | None]]) -> None:
        counters = self._counters
        self._outcomes(ATTEMPTS, deployment, [record for record, _ in ends])
        used = zip(*[_token_counts(record.usage) for record, _ in ends], strict=True)
        for kind, column in zip(TOKEN_KINDS, used, strict=True):
            if tokens := sum(count for count in column if count > 0):
                counters[TOKENS][deployment, kind] += tokens
        for record, hold_nusd in ends:
            cost_nusd = record.cost_nusd
            if cost_nusd is None:
                counters[UNKNOWN_PRICE][(deployment,)] += 1
                continue
            if cost_nusd > 0:
                counters[COST][deployment, record.cost_state] += cost_nusd
            if hold_nusd is not None and cost_nusd > hold_nusd:
                counters[OVERRUN][(deployment,)] += cost_nusd - hold_nusd

    def _called(self, deployment: str, calls: list[Called]) -> None:
        self._outcomes(CALLS, deployment, calls)
        # Nobody knows how long a call took whose process died.
        timed = [call for call in calls if call.error_code != PROCESS_DIED]
        first_ms = [call.first_token_ms for call in timed if call.first_token_ms is not None]
        if timed:
            self._histograms[CALL_SECONDS][deployment].add(call.latency_ms for call in timed)
        if first_ms:
            self._histograms[FIRST_TOKEN_SECONDS][deployment].add(first_ms)
        for said in chain.from_iterable(call.route for call in calls):
            name, _, words = said.partition(": ")
            for decision, worded in DECISION_KINDS.items():
                if worded in words:
                    self._counters[DECISIONS][self._deployment(name), decision] += 1

    def _outcomes(self, family: Family, deployment: str, ends: Sequence[Ended | Called]) -> None:
        counter = self._counters[family]
        for (outcome, code), count in Counter(map(_outcome, ends)).items():
            counter[deployment, outcome, code or ""] += count

    def _deployment(self, name: str) -> str:
        """Return the label of a deployment; callers may have invented its name."""
        if len(name) > _LONGEST_NAME_CHARS:
            name = scrub(name, _LONGEST_NAME_CHARS)
        label = self._deployments.get(name)
        if label is None:
            if len(self._deployments) >= _MOST_DEPLOYMENTS:
                return "other"
            label = self._deployments[name] = scrub(name)
        return label


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {_escaped(text)}"
    yield f"# TYPE {_PREFIX}{name} {kind}"


def _sample(name: str, labels: Iterable[tuple[str, str]], value: str) -> str:
    inner = ",".join(f'{key}="{_escaped(text, quotes=True)}"' for key, text in labels)
    return f"{_PREFIX}{name}{{{inner}}} {value}" if inner else f"{_PREFIX}{name} {value}"


def _buckets(name: str, deployment: str, histogram: Histogram) -> Iterator[str]:
    own = ("deployment", deployment)
    count = 0
    for bound, more in zip((*map(str, _SECONDS), "+Inf"), histogram.counts, strict=True):
        count += more
        yield _sample(f"{name}_bucket", (own, ("le", bound)), str(count))
    yield _sample(f"{name}_sum", (own,), str(histogram.total))
    yield _sample(f"{name}_count", (own,), str(count))


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _usd(nusd: int) -> str:
    whole, rest = divmod(nusd, 1_000_000_000)
    return f"{whole}.{rest:09d}"
