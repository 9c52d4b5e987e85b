"""Counting with Bedrock: what is asked, of whom, and what an answer means."""

import json

import pytest

from tests.unit.dialects.bedrock.wire import CLAUDE, HI, row
from trunkline.dialects import load
from trunkline.errors import BadAnswer, Refused, UpstreamNotFound
from trunkline.types import Counted, CountTokens, Memo, Prompt, Tool, say

counting = load("bedrock_counting")
TOOL = Tool(name="f", description="d", parameters={"type": "object"})
PROMPT = Prompt(messages=(say("system", "Brief."), HI), tools=(TOOL,), max_output_tokens=9)
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x"


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (CLAUDE, "anthropic.claude-sonnet-4-5-20250929-v1%3A0"),
        ("us.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite-v1%3A0"),
        ("meta.llama3-8b-instruct-v1:0", "meta.llama3-8b-instruct-v1%3A0"),
        (ARN, "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fx"),
    ],
)
def test_a_model_is_asked_by_its_own_name(model: str, asked: str) -> None:
    """Profiles of regions are not taken; whose profile an ARN is nobody can know."""
    outgoing = counting.encode(CountTokens(model="m", body=PROMPT), row(model))
    assert outgoing.url == f"https://api.test/model/{asked}/count-tokens"


def test_what_shapes_the_prompt_is_sent() -> None:
    """As Converse takes it, without the cap."""
    outgoing = counting.encode(CountTokens(model="m", body=PROMPT), row(base_url="https://p/?a=1"))
    asked = json.loads(outgoing.body)["input"]["converse"]
    assert asked.keys() == {"messages", "system", "toolConfig"}
    assert asked["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]
    assert outgoing.url.endswith("/count-tokens?a=1")


def test_a_number_is_the_answer() -> None:
    """Anything else is none."""
    assert counting.decode(b'{"inputTokens": 7}', Memo()).events == (Counted(tokens=7),)
    with pytest.raises(BadAnswer, match="inputTokens"):
        counting.decode(b"{}", Memo())


def test_who_cannot_count_is_told_from_who_refuses() -> None:
    """The first is as if the endpoint were not there, so that an estimate may stand in."""
    headers = {"x-amzn-errortype": "ValidationException"}
    body = b'{"message":"The provided model doesn\'t support counting tokens."}'
    error = counting.decode_error(400, headers, body)
    assert (type(error), error.upstream_status) == (UpstreamNotFound, 404)
    error = counting.decode_error(400, headers, b'{"message":"messages.0 is odd"}')
    assert (type(error), error.upstream_status) == (Refused, 400)
