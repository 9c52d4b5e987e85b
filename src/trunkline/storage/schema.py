"""The tables, for SQLite and PostgreSQL alike.

`attempts` has a column for every field of `Ended`, `Usage` and `Begun`, `calls` one for every field
of `Called`, by the same names. Who pays is in `calls` alone, whose row the first `Begun` makes; its
`outcome` is NULL until the call is over, and `journal` says in which process's files it stands.
Money is nano-USD, NULL = unknown. A time is nanoseconds since the epoch. `tags` and `route` are
JSON lists. What the records have not said yet is NULL.

`usage_sums` is what queries of usage read: one row for each quarter of an hour and everything that
usage can be asked by, '' = none. `usage_days`, `usage_spans` and `scope_sums` are the same added up
further, see `totals` and `spans`. `call_tags` finds calls that are over by their tags, the newest
first. `ledger_accounts` has one row for each budget and bucket of its period, `ledger_leases`
what each owner (one life of a journal, or one of `pools`) was granted of it.

`tenants`, `teams`, `users`, `keys` and `budgets` are what was made at run time, see `principals`;
lists are JSON. A key is known by its digests alone, of which all but the present one end.
`circuits` is what processes tell each other of deployments that rest, see the module `circuits`.

Whatever is changed here is a migration as well, see `trunkline.storage.migrations.steps`.
"""

from __future__ import annotations

from msgspec.structs import asdict

from trunkline.storage.counts import COUNTS
from trunkline.storage.database import Words

_TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE journal_offsets (
    file TEXT PRIMARY KEY,
    bytes BIGINT NOT NULL
);
CREATE TABLE journals (
    id {serial},
    owner TEXT NOT NULL UNIQUE
);
CREATE TABLE attempts (
    call_id TEXT NOT NULL,
    n BIGINT NOT NULL,
    started_ns BIGINT,
    deployment TEXT,
    hold_nusd BIGINT,
    price_snapshot TEXT,
    outcome TEXT,
    cost_nusd BIGINT,
    cost_state TEXT,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    cache_write_1h_tokens BIGINT,
    reasoning_tokens BIGINT,
    audio_input_tokens BIGINT,
    audio_output_tokens BIGINT,
    reported_cost_nusd BIGINT,
    service_tier TEXT,
    web_search_requests BIGINT,
    error_code TEXT,
    error TEXT,
    finish TEXT,
    latency_ms DOUBLE PRECISION,
    first_token_ms DOUBLE PRECISION,
    upstream_id TEXT,
    PRIMARY KEY (call_id, n)
);
CREATE INDEX attempts_started ON attempts (started_ns);
CREATE INDEX attempts_open ON attempts (call_id) WHERE outcome IS NULL;
CREATE TABLE calls (
    call_id TEXT PRIMARY KEY,
    journal BIGINT NOT NULL,
    kind TEXT,
    started_ns BIGINT,
    model TEXT,
    outcome TEXT,
    stream BIGINT,
    message_count BIGINT,
    attempts BIGINT,
    deployment TEXT,
    error_code TEXT,
    error TEXT,
    finish TEXT,
    cost_nusd BIGINT,
    cost_state TEXT,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    latency_ms DOUBLE PRECISION,
    first_token_ms DOUBLE PRECISION,
    key_id TEXT,
    user_id TEXT,
    team_id TEXT,
    tenant_id TEXT,
    end_user TEXT,
    tags TEXT,
    run TEXT,
    tracked BIGINT,
    route TEXT
);
CREATE INDEX calls_started ON calls (started_ns);
CREATE INDEX calls_open ON calls (call_id) WHERE outcome IS NULL;
CREATE INDEX calls_run ON calls (run) WHERE run IS NOT NULL;
CREATE INDEX calls_key ON calls (key_id, started_ns) WHERE key_id IS NOT NULL;
CREATE INDEX calls_user ON calls (user_id, started_ns) WHERE user_id IS NOT NULL;
CREATE INDEX calls_tenant ON calls (tenant_id, started_ns) WHERE tenant_id IS NOT NULL;
CREATE TABLE call_tags (
    tag TEXT NOT NULL,
    started_ns BIGINT NOT NULL,
    call_id TEXT NOT NULL,
    PRIMARY KEY (tag, started_ns, call_id)
){clustered};
CREATE TABLE usage_sums (
    quarter BIGINT NOT NULL,
    model TEXT NOT NULL,
    deployment TEXT NOT NULL,
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    team_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    tracked BIGINT NOT NULL,
    {counts},
    PRIMARY KEY (
        quarter, model, deployment, key_id, user_id, team_id, tenant_id, tags, tracked
    )
);
CREATE INDEX usage_sums_key ON usage_sums (key_id, quarter) WHERE key_id <> '';
CREATE INDEX usage_sums_user ON usage_sums (user_id, quarter) WHERE user_id <> '';
CREATE INDEX usage_sums_team ON usage_sums (team_id, quarter) WHERE team_id <> '';
CREATE TABLE usage_days (
    kind TEXT NOT NULL,
    day BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    {counts},
    PRIMARY KEY (kind, day, tenant_id, name)
);
CREATE TABLE usage_spans (
    days BIGINT NOT NULL,
    kind TEXT NOT NULL,
    day BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    {counts},
    PRIMARY KEY (days, kind, day, tenant_id, name)
){clustered};
CREATE TABLE scope_sums (
    scope TEXT NOT NULL,
    quarter BIGINT NOT NULL,
    cost_nusd BIGINT NOT NULL,
    PRIMARY KEY (scope, quarter)
);
CREATE TABLE ledger_accounts (
    id {serial},
    scope TEXT NOT NULL,
    period TEXT NOT NULL,
    bucket_ns BIGINT NOT NULL,
    end_ns BIGINT NOT NULL,
    settled_nusd BIGINT NOT NULL,
    overrun_nusd BIGINT NOT NULL DEFAULT 0,
    marked_nusd BIGINT NOT NULL DEFAULT 0,
    UNIQUE (scope, period, bucket_ns)
);
CREATE TABLE ledger_leases (
    account BIGINT NOT NULL,
    owner TEXT NOT NULL,
    opened_ns BIGINT NOT NULL,
    granted_nusd BIGINT NOT NULL,
    ingested_nusd BIGINT NOT NULL,
    PRIMARY KEY (account, owner)
);
CREATE INDEX ledger_leases_owner ON ledger_leases (owner);
CREATE TABLE hooks (
    name TEXT PRIMARY KEY,
    seen_ns BIGINT NOT NULL
);
CREATE TABLE outbox (
    hook TEXT NOT NULL,
    call_id TEXT NOT NULL,
    n BIGINT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    tries BIGINT NOT NULL DEFAULT 0,
    due_ns BIGINT NOT NULL DEFAULT 0,
    error TEXT,
    PRIMARY KEY (hook, call_id, n)
);
CREATE INDEX outbox_due ON outbox (hook, state, due_ns);
CREATE INDEX outbox_call ON outbox (call_id);
CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_ns BIGINT NOT NULL
);
CREATE INDEX tenants_created ON tenants (created_ns, id);
CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tenant_id TEXT,
    created_ns BIGINT NOT NULL
);
CREATE INDEX teams_created ON teams (created_ns, id);
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT,
    email TEXT,
    role TEXT,
    team_id TEXT,
    tenant_id TEXT,
    allowance_nusd BIGINT,
    period TEXT,
    created_ns BIGINT NOT NULL,
    timezone TEXT NOT NULL DEFAULT 'UTC',
    rolling BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX users_created ON users (created_ns, id);
CREATE INDEX users_team ON users (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX users_tenant ON users (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    user_id TEXT,
    team_id TEXT,
    tenant_id TEXT,
    tier TEXT,
    role TEXT NOT NULL,
    models TEXT NOT NULL,
    may_act_for TEXT NOT NULL,
    required_tags TEXT NOT NULL,
    expires_ns BIGINT,
    revoked_ns BIGINT,
    created_ns BIGINT NOT NULL,
    requests_per_minute BIGINT,
    tokens_per_minute BIGINT
);
CREATE INDEX keys_created ON keys (created_ns, id);
CREATE INDEX keys_user ON keys (user_id) WHERE user_id IS NOT NULL;
CREATE TABLE key_digests (
    digest TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    ends_ns BIGINT
);
CREATE INDEX key_digests_key ON key_digests (key_id);
CREATE TABLE budgets (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    amount_nusd BIGINT NOT NULL,
    period TEXT NOT NULL,
    timezone TEXT NOT NULL,
    rolling BIGINT NOT NULL,
    mode TEXT NOT NULL,
    unknown_price TEXT NOT NULL,
    when_store_down TEXT NOT NULL,
    alert_at TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    cap_output BIGINT NOT NULL DEFAULT 0,
    UNIQUE (scope, period, timezone, rolling)
);
CREATE INDEX budgets_created ON budgets (created_ns, id);
CREATE TABLE circuits (
    deployment TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    until_ns BIGINT NOT NULL,
    cause TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    host TEXT NOT NULL,
    owner TEXT NOT NULL
);
"""


def tables(words: Words) -> str:
    """Return the statements that make all tables in an empty database."""
    counts = ",\n    ".join(f"{name} BIGINT NOT NULL" for name in COUNTS)
    return _TABLES.format(counts=counts, **asdict(words))
