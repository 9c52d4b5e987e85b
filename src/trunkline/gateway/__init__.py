"""The core behind HTTP: what unmodified SDKs call. It adds no policy of its own.

Read on: `app` (paths and errors), `http` (requests in, answers out), `keys` (who may), `relay`
(one call from request to answer), `surfaces` (what each family of paths looks like).

The processes: `serve` (what comes before them), `supervisor` (keeps its `children` and talks to
them over a `link`), `worker` (answers calls through a `server`), `steward` (ingests,
deletes what is old by `pruning`, asks providers by its `prober`; hears of the workers through their
`uplink`), `reread` (a new configuration).
"""
