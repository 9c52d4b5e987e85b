"""The core behind HTTP: what unmodified SDKs call. It adds no policy of its own.

Read on: `app` (paths and errors), `http` (requests in, answers out), `keys` (who may), `relay`
(one call from request to answer), `surfaces` (what each family of paths looks like), `serve`
(listening).
"""
