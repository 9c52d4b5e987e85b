"""One policy per file. Each module has a function of its own name that makes the layer.

A layer acts before the await and in `reply.on_close`; it never touches a frame. The order in which
they stand around each other is decided in one place: `trunkline.client.stack`.
"""
