"""One policy per file, made by a function of its own name; `deadline` and `ratelimit` make two.

A layer acts before the await and in `reply.on_close`. It does not touch frames, but where `route`
goes on with an answer that broke off, and `meter` ends one that its budget cuts. The order in which
they stand around each other is decided in one place: `trunkline.client.stack`.
"""
