"""Figures: numbers of several rounds, the verdict on their median, a line of the table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Literal

HEAD = (
    "| figure | trunkline | reference | verdict on (spread) | first target | |\n"
    "|---|---|---|---|---|---|"
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row: what we took and what the reference took, round by round."""

    name: str
    unit: str
    target: float | None
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    kind: Literal["times", "times less", "added", "plain"] = "times"
    errors: int = 0
    note: str = ""

    def values(self) -> list[float]:
        """Return what the verdict is on, sorted: ratios, differences, or our own numbers."""
        if self.kind == "plain":
            return sorted(self.ours)
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.kind == "times":
            return sorted(ours / theirs for ours, theirs in pairs)
        if self.kind == "times less":
            return sorted(theirs / ours for ours, theirs in pairs)
        return sorted(ours - theirs for ours, theirs in pairs)

    def verdict(self) -> str:
        if self.errors:
            return f"FAILED: {self.errors} errors"
        if self.target is None:
            return "-"
        middle = statistics.median(self.values())
        good = middle >= self.target if self.kind == "times less" else middle <= self.target
        return "pass" if good else "MISSED"

    def line(self) -> str:
        values = self.values()
        unit = "x" if self.kind.startswith("times") else self.unit
        spread = f"{number(values[0])} - {number(values[-1])}"
        bound = ">=" if self.kind == "times less" else "<="
        theirs = number(statistics.median(self.theirs)) if self.theirs else "-"
        cells = (
            f"{self.name}, {self.unit}",
            number(statistics.median(self.ours)),
            theirs + (f" ({self.note})" if self.note else ""),
            f"**{number(statistics.median(values))} {unit}** ({spread})",
            "-" if self.target is None else f"{bound} {self.target:g} {unit}",
            self.verdict(),
        )
        return "| " + " | ".join(cells) + " |"


def number(value: float) -> str:
    """Return three figures that count, never an exponent."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of all values lie, 0 to 1.

    Raises:
        IndexError: there are no values.
    """
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
