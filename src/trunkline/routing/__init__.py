"""Pure decisions about who is asked: no I/O, no waiting."""
