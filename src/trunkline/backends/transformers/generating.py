"""One answer, token by token; all of it runs in the model's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from trunkline.backends.transformers.asking import Asked
from trunkline.backends.transformers.models import Loaded, packages
from trunkline.backends.transformers.speech import Speech
from trunkline.errors import CapabilityMissing, ContextTooLong
from trunkline.types import Event, FinishReason

_CUT = "\ufffd"
"""What stands for a character of which bytes are still to come."""


class Told(Struct, frozen=True, kw_only=True):
    """How an answer ended; tokens are counted, not estimated."""

    prompt_tokens: int
    completion_tokens: int
    """Includes the token that ends the answer."""
    finish: FinishReason


class _Listener:
    """Takes tokens as `generate` makes them and tells what they say."""

    def __init__(
        self, tokenizer: Any, speech: Speech, tell: Callable[[Sequence[Event]], None]
    ) -> None:
        self._tokenizer = tokenizer
        self._speech = speech
        self._tell = tell
        self._ids: list[int] = []
        self._told = 0
        """How many of them were told; the ones before them are kept as their context."""
        self._context = 0
        self._begun = False

    def put(self, ids: Any) -> None:
        """Take the next token; what comes first is the prompt."""
        if not self._begun:
            self._begun = True
            return
        self._ids += ids.flatten().tolist()
        self._hear(final=False)

    def end(self) -> None:
        """Tell what was held back."""
        self._hear(final=True)

    def _hear(self, *, final: bool) -> None:
        before = self._text(self._context, self._told)
        text = self._text(self._context, len(self._ids))[len(before) :]
        if not text or (text.endswith(_CUT) and not final):
            return
        self._context, self._told = self._told, len(self._ids)
        if events := self._speech.feed(text):
            self._tell(events)

    def _text(self, start: int, end: int) -> str:
        text: str = self._tokenizer.decode(self._ids[start:end], skip_special_tokens=True)
        return text


def generate(
    model: Loaded,
    wanted: Asked,
    tell: Callable[[Sequence[Event]], None],
    leaving: threading.Event,
) -> Told:
    """Answer, telling events as tokens are made; ends early when `leaving` is set.

    Raises:
        CapabilityMissing: the model's template has no tools.
        ContextTooLong: the prompt leaves no room for an answer.
    """
    torch, library = packages()
    tokenizer, network = model.tokenizer, model.network
    inputs, prefix = _inputs(model, wanted)
    prompt_tokens = inputs["input_ids"].shape[1]
    speech = Speech(wanted, thinking=prefix.rstrip().endswith("<think>"))

    def stops(ids: Any, _: Any, **__: Any) -> Any:
        """Asked after each token."""
        stop = leaving.is_set() or speech.stopped
        return torch.full((ids.shape[0],), stop, dtype=torch.bool, device=ids.device)

    if wanted.seed is not None:
        torch.manual_seed(wanted.seed)
    most_tokens = _most_tokens(model, wanted, prompt_tokens)
    with torch.inference_mode():
        made = network.generate(
            **inputs,
            **wanted.sampling,
            max_new_tokens=most_tokens,
            pad_token_id=tokenizer.eos_token_id,  # one answer at a time: nothing is padded
            streamer=_Listener(tokenizer, speech, tell),
            stopping_criteria=library.StoppingCriteriaList([stops]),
        )
    if events := speech.end():
        tell(events)
    completion = made[0, prompt_tokens:].tolist()
    ended = speech.stopped or (completion and completion[-1] in _ends(network))
    finish: FinishReason = "stop" if ended or len(completion) < most_tokens else "length"
    return Told(
        prompt_tokens=prompt_tokens,
        completion_tokens=len(completion),
        finish="tool_calls" if speech.calls else finish,
    )


def _inputs(model: Loaded, wanted: Asked) -> tuple[Any, str]:
    """Return the prompt as tensors, and as text."""
    tokenizer = model.tokenizer
    if wanted.tools and "tools" not in str(tokenizer.chat_template):
        raise CapabilityMissing("the chat template of this model has no tools", param="tools")
    text = tokenizer.apply_chat_template(
        wanted.messages,
        tools=wanted.tools or None,
        add_generation_prompt=True,
        tokenize=False,
        **wanted.template,
    )
    # The template has written the special tokens already.
    inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    return inputs.to(model.network.device), text


def _most_tokens(model: Loaded, wanted: Asked, prompt_tokens: int) -> int:
    context = model.context_tokens
    left = None if context is None else context - prompt_tokens
    if left is not None and left < 1:
        raise ContextTooLong(
            f"the prompt has {prompt_tokens} tokens, the model's context {context}", sent=False
        )
    said = [most for most in (wanted.most_tokens, left) if most is not None]
    return min(said, default=1024)


def _ends(network: Any) -> Sequence[int]:
    said = network.generation_config.eos_token_id
    return said if isinstance(said, list) else [said]
