"""The tables, in SQL that SQLite and PostgreSQL both nearly speak.

`attempts` has a column for every field of `Ended`, `Usage` and `Begun`, `calls` one for every field
of `Called`, by the same names. Who pays is in `calls` alone, whose row the first `Begun` makes; its
`outcome` is NULL until the call is over, and `journal` says in which process's files it stands.
Money is nano-USD, NULL = unknown. A time is nanoseconds since the epoch. `tags` and `route` are
JSON lists. What the records have not said yet is NULL.
"""

VERSION = 1

TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE journal_offsets (
    file TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
);
CREATE TABLE journals (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL UNIQUE
);
CREATE TABLE attempts (
    call_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    started_ns INTEGER,
    deployment TEXT,
    hold_nusd INTEGER,
    price_snapshot TEXT,
    outcome TEXT,
    cost_nusd INTEGER,
    cost_state TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    cache_write_1h_tokens INTEGER,
    reasoning_tokens INTEGER,
    audio_input_tokens INTEGER,
    audio_output_tokens INTEGER,
    reported_cost_nusd INTEGER,
    error_code TEXT,
    error TEXT,
    finish TEXT,
    latency_ms REAL,
    first_token_ms REAL,
    upstream_id TEXT,
    PRIMARY KEY (call_id, n)
);
CREATE INDEX attempts_started ON attempts (started_ns);
CREATE INDEX attempts_open ON attempts (call_id) WHERE outcome IS NULL;
CREATE TABLE calls (
    call_id TEXT PRIMARY KEY,
    journal INTEGER NOT NULL,
    kind TEXT,
    started_ns INTEGER,
    model TEXT,
    outcome TEXT,
    stream INTEGER,
    message_count INTEGER,
    attempts INTEGER,
    deployment TEXT,
    error_code TEXT,
    error TEXT,
    finish TEXT,
    cost_nusd INTEGER,
    cost_state TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    latency_ms REAL,
    first_token_ms REAL,
    key_id TEXT,
    user_id TEXT,
    team_id TEXT,
    tenant_id TEXT,
    end_user TEXT,
    tags TEXT,
    run TEXT,
    tracked INTEGER,
    route TEXT
);
CREATE INDEX calls_started ON calls (started_ns);
CREATE INDEX calls_open ON calls (call_id) WHERE outcome IS NULL;
"""
