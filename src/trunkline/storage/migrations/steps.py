"""The migrations, in their order; one is added at the end and never changed once it was released.

What it makes is added to `trunkline.storage.schema` as well: a new database is made whole. Tests
compare the two.
"""

from __future__ import annotations

from msgspec import Struct


class Migration(Struct, frozen=True, kw_only=True):
    """One step from a schema to the next."""

    number: int
    """The version that it leads to: one more than that of the step before."""
    name: str
    additive: bool
    """Whether releases that do not know it can go on: nothing they read or write is gone, renamed
    or asked more of. A column is nullable or has a default."""
    statements: tuple[str, ...] = ()
    """SQL for all engines; `{serial}` as in the schema."""

    @property
    def id(self) -> str:
        """What people call it."""
        return f"{self.number:04}_{self.name}"


MIGRATIONS = (
    Migration(number=1, name="baseline", additive=False),
    Migration(
        number=2,
        name="outbox_call",
        additive=True,
        statements=("CREATE INDEX outbox_call ON outbox (call_id)",),
    ),
    Migration(
        number=3,
        name="budget_cap_output",
        additive=True,
        statements=("ALTER TABLE budgets ADD COLUMN cap_output BIGINT NOT NULL DEFAULT 0",),
    ),
    Migration(
        number=4,
        name="key_rate_limits",
        additive=True,
        statements=(
            "ALTER TABLE keys ADD COLUMN requests_per_minute BIGINT",
            "ALTER TABLE keys ADD COLUMN tokens_per_minute BIGINT",
        ),
    ),
    Migration(
        number=5,
        name="circuits",
        additive=True,
        statements=(
            """
            CREATE TABLE circuits (
                deployment TEXT PRIMARY KEY,
                state TEXT NOT NULL,
                until_ns BIGINT NOT NULL,
                cause TEXT NOT NULL,
                at_ns BIGINT NOT NULL,
                host TEXT NOT NULL,
                owner TEXT NOT NULL
            )""",
        ),
    ),
)
