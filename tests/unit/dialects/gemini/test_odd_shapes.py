"""Whatever comes, it is an answer or an error of the provider's, never a bug of ours."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dialects.gemini.wire import response
from trunkline.dialects.gemini import decode, decode_error, decode_frame
from trunkline.errors import ProviderError
from trunkline.types import Memo

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 600) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
ANSWER = response(
    {"text": "a", "thought": True},
    {"functionCall": {"name": "f", "args": {}, "partialArgs": [{"jsonPath": "$.a[0].b"}]}},
    {"inlineData": {"mimeType": "image/png", "data": ""}},
    finish="STOP",
    usageMetadata={"promptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO"}]},
    promptFeedback={"blockReason": "SAFETY"},
)
ANSWER["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["q"]}
ERROR = {
    "error": {
        "code": 429,
        "message": "m",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"reason": "r", "retryDelay": "3s", "violations": [{"quotaId": "q"}]}],
    }
}


@st.composite
def bent(draw: st.DrawFn, whole: Any) -> Any:
    """Put anything in the place of one value."""
    copy = [json.loads(json.dumps(whole))]
    here, key = copy, 0
    while isinstance(here[key], dict | list) and here[key] and draw(st.integers(0, 5)):
        here = here[key]
        key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
    here[key] = draw(values)
    return copy[0]


@given(bent(ANSWER) | bent(ERROR))
def test_bent_answers(data: Any) -> None:
    """Whole, streamed, and under a status that is no success."""
    body = json.dumps(data).encode()
    with suppress(ProviderError):
        for event in decode(body, Memo()).events:
            assert event is not None
    with suppress(ProviderError):
        decode_frame(b"data: " + body + b"\n\n", Memo())
    assert isinstance(decode_error(400, {}, body), ProviderError)
