"""Calls for tests of the transport, and a dialect that cannot hide a mix-up.

`ECHO` asks for `{"nonce": ...}` and takes answers in which every piece repeats the nonce, so that
an answer that went to the wrong caller shows. Whole: `{"nonce": N}`. Stream: `data: N <text>`
events, then `data: [END]`.
"""

import sys
from types import ModuleType

import msgspec

from trunkline.errors import BadAnswer, ProviderError, Refused, UpstreamFailed
from trunkline.reply import Reply
from trunkline.types import (
    Chat,
    Deployment,
    Frame,
    Limits,
    Mark,
    Memo,
    Outgoing,
    Prompt,
    Secret,
    TextDelta,
    say,
)

ECHO = "test_echo"
PATIENT = Limits()


def ask(
    url: str,
    text: str = "hi",
    *,
    stream: bool = False,
    dialect: str = "openai_chat",
    limits: Limits = PATIENT,
) -> Chat:
    """Return a chat for a deployment at `url`, ready for the transport."""
    deployment = Deployment(
        provider="fake",
        model="m",
        dialect=dialect,
        base_url=f"{url}/v1",
        api_key=Secret("sk-test-0123456789abcdef"),
        limits=limits,
    )
    prompt = Prompt(messages=(say("user", text),))
    return Chat(model="m", stream=stream, target=deployment, body=prompt)


async def read(reply: Reply) -> str:
    """Read a reply to its end and return its text."""
    return (await reply.message()).text


def _encode(chat: Chat, deployment: Deployment) -> Outgoing:
    body = msgspec.json.encode({"nonce": chat.prompt.messages[0].text, "stream": chat.stream})
    headers = {"content-type": "application/json"}
    url = f"{deployment.base_url}/echo"
    return Outgoing(url=url, headers=headers, body=body, dropped=("top_k",))


def _decode(body: bytes, memo: Memo) -> Frame:
    try:
        nonce = msgspec.json.decode(body, type=dict[str, str])["nonce"]
    except (msgspec.DecodeError, KeyError) as error:
        raise BadAnswer("no nonce in the answer") from error
    return Frame(body, Mark.SHOWN | Mark.TERMINAL, events=(TextDelta(text=nonce),))


def _decode_frame(raw: bytes, memo: Memo) -> Frame:
    data = raw.strip().removeprefix(b"data: ")
    if not data or data.startswith(b":"):
        return Frame(raw, Mark.NONE, events=())
    if data == b"[END]":
        return Frame(raw, Mark.TERMINAL, events=())
    if data == b"[FINISH]":
        memo.finished = True
        return Frame(raw, Mark.FINISH, events=())
    if data.startswith(b"error"):
        raise UpstreamFailed(data.decode())
    return Frame(raw, Mark.SHOWN, events=(TextDelta(text=data.decode()),))


def _decode_error(status: int, headers: dict[str, str], body: bytes) -> ProviderError:
    kind = Refused if status < 500 else UpstreamFailed
    return kind(body.decode(errors="replace") or f"status {status}", upstream_status=status)


_module = ModuleType(f"trunkline.dialects.{ECHO}")
for _name, _value in {
    "NAME": ECHO,
    "FRAMING": "sse",
    "encode": _encode,
    "decode": _decode,
    "decode_frame": _decode_frame,
    "decode_error": _decode_error,
}.items():
    setattr(_module, _name, _value)
sys.modules[_module.__name__] = _module
