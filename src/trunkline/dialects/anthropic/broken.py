"""What the decoder raises for bytes that are not JSON."""

from msgspec import DecodeError

BROKEN = (DecodeError, UnicodeDecodeError, RecursionError)
