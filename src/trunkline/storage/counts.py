"""What sums of usage count, and how it is added to."""

from __future__ import annotations

COUNTS = (
    "requests",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_nusd",
    "unknown_requests",
    "unknown_attempts",
)
KINDS = ("model", "deployment", "key", "user", "team")
"""Of what days are added up, beside tags; every call has one of each, '' = none."""
DAY_KEY = ("kind", "day", "tenant_id", "name")


def counting(table: str, key: tuple[str, ...], counts: tuple[str, ...]) -> str:
    """Return the statement that adds to the counts of a row, or makes it."""
    names = key + counts
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET "
        + ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in counts)
    )
