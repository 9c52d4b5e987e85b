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
    """SQL for all engines, with `Words` as in the schema: `{serial}`, ..."""

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
        name="user_allowance_window",
        additive=True,
        statements=(
            "ALTER TABLE users ADD COLUMN timezone TEXT NOT NULL DEFAULT 'UTC'",
            "ALTER TABLE users ADD COLUMN rolling BIGINT NOT NULL DEFAULT 0",
        ),
    ),
    Migration(
        number=5,
        name="call_tags_usage_spans",
        additive=True,
        statements=(
            """
            CREATE TABLE call_tags (
                tag TEXT NOT NULL,
                started_ns BIGINT NOT NULL,
                call_id TEXT NOT NULL,
                PRIMARY KEY (tag, started_ns, call_id)
            ){clustered}""",
            """
            INSERT INTO call_tags (tag, started_ns, call_id)
            SELECT DISTINCT t.value, c.started_ns, c.call_id FROM calls AS c {each_tag}
            WHERE length(t.value) <= 256 AND c.outcome IS NOT NULL""",
            # Filled as calls come, see `trunkline.storage.spans`.
            """
            CREATE TABLE usage_spans (
                days BIGINT NOT NULL,
                kind TEXT NOT NULL,
                day BIGINT NOT NULL,
                tenant_id TEXT NOT NULL,
                name TEXT NOT NULL,
                requests BIGINT NOT NULL,
                attempts BIGINT NOT NULL,
                prompt_tokens BIGINT NOT NULL,
                completion_tokens BIGINT NOT NULL,
                cached_tokens BIGINT NOT NULL,
                reasoning_tokens BIGINT NOT NULL,
                cost_nusd BIGINT NOT NULL,
                unknown_requests BIGINT NOT NULL,
                unknown_attempts BIGINT NOT NULL,
                PRIMARY KEY (days, kind, day, tenant_id, name)
            ){clustered}""",
        ),
    ),
    Migration(
        number=6,
        name="key_rate_limits",
        additive=True,
        statements=(
            "ALTER TABLE keys ADD COLUMN requests_per_minute BIGINT",
            "ALTER TABLE keys ADD COLUMN tokens_per_minute BIGINT",
        ),
    ),
    Migration(
        number=7,
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
