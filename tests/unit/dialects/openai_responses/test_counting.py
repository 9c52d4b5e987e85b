"""Counting with OpenAI: what is asked, and what an answer means."""

import json

import pytest
from openai.types.responses.input_token_count_params import InputTokenCountParams

from trunkline.dialects import load
from trunkline.errors import BadAnswer
from trunkline.types import Counted, CountTokens, Deployment, Memo, Prompt, Reasoning, Tool, say

counting = load("openai_counting")
ROW = Deployment(
    provider="openai", model="gpt-6", dialect="openai_counting", base_url="https://x.test/v1?a=1"
)
TOOL = Tool(name="f", description="d", parameters={"type": "object"})


def test_what_shapes_the_prompt_is_sent() -> None:
    """The items, the tools and how hard to think; nothing of how an answer is to come."""
    prompt = Prompt(
        messages=(say("system", "Brief."), say("user", "Hi")),
        tools=(TOOL,),
        reasoning=Reasoning(effort="low"),
        max_output_tokens=9,
        temperature=0.5,
    )
    outgoing = counting.encode(CountTokens(model="m", body=prompt), ROW)
    asked = json.loads(outgoing.body)
    assert outgoing.url == "https://x.test/v1/responses/input_tokens?a=1"
    assert outgoing.dropped == ()
    assert asked.keys() == {"input", "model", "reasoning", "tools"}
    assert asked.keys() <= InputTokenCountParams.__annotations__.keys()
    assert [item["role"] for item in asked["input"]] == ["system", "user"]


def test_a_request_of_responses_is_counted_as_it_came() -> None:
    """Byte for byte, but for what the endpoint does not take."""
    fields = {"input": "Hi", "instructions": "Brief.", "truncation": "auto", "store": False}
    body = json.dumps(fields | {"model": "m"}).encode()
    wire = load("openai_responses").read(body).body
    asked = json.loads(counting.encode(CountTokens(model="m", body=wire), ROW).body)
    del fields["store"]
    assert asked == fields | {"model": "gpt-6"}


def test_a_number_is_the_answer() -> None:
    """Anything else is none."""
    body = b'{"object":"response.input_tokens","input_tokens":11}'
    assert counting.decode(body, Memo()).events == (Counted(tokens=11),)
    with pytest.raises(BadAnswer, match="input_tokens"):
        counting.decode(b'{"object":"response.input_tokens"}', Memo())
