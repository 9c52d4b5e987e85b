"""Where records are kept and asked for.

`database` is what an engine owes, `sqlite` and `postgres` are engines: the only modules that import
their drivers. `schema` says what is stored, `migrations` how an older database gets there. `store`
takes records in and answers, with `changes`, `records` and `rows`; `sums`, `ledger` and `outbox`
follow what it takes in. `valkey_leases` is the ledger with Valkey in front, `buckets` and
`valkey_buckets` keep rate limits, `circuits` is what processes tell each other of deployments.
"""
