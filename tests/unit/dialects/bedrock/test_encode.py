"""The request: where it goes, who proves who asks, and what a name may be."""

import pytest

from tests.unit.dialects.bedrock.wire import HI, NOVA, made, row
from trunkline.dialects.bedrock import encode
from trunkline.errors import InputError
from trunkline.types import Chat, Prompt, Secret

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.a.b-v1:0"
QUOTED = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.a.b-v1%3A0"


@pytest.mark.parametrize(
    ("model", "path"), [(NOVA, "us.amazon.nova-2-lite-v1%3A0"), (ARN, QUOTED), (QUOTED, QUOTED)]
)
def test_names_are_percent_encoded_once(model: str, path: str) -> None:
    """Ids and ARNs, and what somebody encoded already."""
    assert made(model=model).url == f"https://api.test/model/{path}/converse"


def test_a_stream_has_its_own_method() -> None:
    """And asks for binary messages; a query of the address stays behind it."""
    outgoing = made(stream=True)
    assert outgoing.url.endswith("/converse-stream")
    assert outgoing.headers["accept"] == "application/vnd.amazon.eventstream"
    chat = Chat(model="m", body=Prompt(messages=(HI,)))
    there = row("m", base_url="https://proxy.test/aws/?a=1")
    assert encode(chat, there).url == "https://proxy.test/aws/model/m/converse?a=1"


@pytest.mark.parametrize("model", ["", ".", "..", "a b", "a?b", "a\nb", "%2e%2e"])
def test_what_cannot_be_a_name_is_refused(model: str) -> None:
    """A name must not lead anywhere else."""
    with pytest.raises(InputError, match="cannot be the name"):
        made(model=model)


def test_a_key_is_sent_as_it_is() -> None:
    """Without one there is nothing: the transport signs. Configured headers come last."""
    assert "authorization" not in made().headers
    chat = Chat(model="m", body=Prompt(messages=(HI,)))
    headers = encode(chat, row(api_key=Secret("bedrock-key"), headers=(("X-A", "b"),))).headers
    assert headers["authorization"] == "Bearer bedrock-key"
    assert headers["x-a"] == "b"
