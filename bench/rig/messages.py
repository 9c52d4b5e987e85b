"""What the callers send, and the exact bytes they have to get."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from bench import upstream

KEY = "tl-key-of-the-bench-0123456789"
MODEL = "gpt-4o"
BIG_BYTES = 200_000
_STAMPS = re.compile(rb"t=(\d{19}) ")
_TEXTS = re.compile(rb'"type":\s*"text_delta",\s*"text":\s*"([^"]*)"')
_STREAMED = b"".join(upstream.UNASKED)

Check = Callable[[bytes], bool]
"""Whether a body is the whole and right one."""


def chat(port: int, mode: str = "bench:whole", *, stream: bool = False, size: int = 230) -> bytes:
    """Return a chat completion request of OpenAI's form, with `size` bytes of text."""
    text = mode + " " + "x" * (size - len(mode) - 1)
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    return _post(port, "/v1/chat/completions", body | ({"stream": True} if stream else {}))


def message(port: int, mode: str) -> bytes:
    """Return the same as a streaming request of Anthropic's form."""
    text = mode + " " + "x" * (229 - len(mode))
    body = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]}
    return _post(port, "/v1/messages", {**body, "stream": True})


def stamps(piece: bytes) -> list[int]:
    """Return when each word in `piece` was written, in nanoseconds of the monotonic clock."""
    return [int(stamp) for stamp in _STAMPS.findall(piece)]


def is_whole(body: bytes) -> bool:
    return body == upstream.WHOLE


def is_streamed(body: bytes) -> bool:
    return body == _STREAMED or _STAMPS.sub(b"word ", body) == _STREAMED


def is_translated(body: bytes) -> bool:
    """Whether a stream of Anthropic's form has every word once, in order, and its end."""
    said = b"".join(_TEXTS.findall(body))
    return said == b"word " * upstream.CHUNKS and body.endswith(b'{"type":"message_stop"}\n\n')


def says_whole(body: bytes) -> bool:
    """Whether the text is right, however the JSON around it is written."""
    content = json.loads(body)["choices"][0]["message"]["content"]
    return bool(content == "word " * 100)


def _post(port: int, path: str, body: object) -> bytes:
    said = json.dumps(body, separators=(",", ":"))
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(said)}\r\n\r\n{said}"
    ).encode()
