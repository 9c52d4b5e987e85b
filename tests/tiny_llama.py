"""A real llama.cpp server on loopback, with a model of random weights that is made here.

The model has two layers and one token per printable ASCII character. Whatever is not such a
character has a constant score below what is sampled, so it writes one plain character per token and
never ends by itself: only `max_tokens`, a stop word, a grammar or the end of the context ends it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

MODEL = "tiny"
SLOTS = 4
CONTEXT_TOKENS = 4096
"""Of each slot: seconds of writing, so that leaving early makes a difference."""

_WIDTH, _LAYERS, _HEADS, _INNER = 64, 2, 4, 128
_SPECIAL = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
_PLAIN = ["\u2581", *map(chr, range(33, 127))]
_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
_OPEN = build_opener(ProxyHandler({})).open

# Prints its address when it serves; ends with its standard input, so it cannot outlive the tests.
_SERVE = """
import sys, xllamacpp
given = xllamacpp.CommonParams()
given.model.path, slots, context_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
given.model_alias = {sys.argv[4]}
given.n_parallel, given.n_ctx = slots, slots * context_tokens
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
given.endpoint_metrics, given.ui, given.warmup, given.fit_params = True, False, False, False
given.cache_ram_mib = 0
server = xllamacpp.Server(given)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


class TinyLlama:
    """A server that stands: where it is, and what it counts."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> tuple[int, int]:
        """Return all prompt and all completion tokens so far, as the server counts them."""
        told = {
            name: float(value)
            for name, value in (
                line.split() for line in self._get("/metrics").splitlines() if line[0] != "#"
            )
        }
        read = told["llamacpp:prompt_tokens_total"] + told["llamacpp:prompt_tokens_cached_total"]
        return int(read), int(told["llamacpp:tokens_predicted_total"])

    def busy_slots(self) -> int:
        """Return how many requests it is working on."""
        return sum(slot["is_processing"] for slot in json.loads(self._get("/slots")))

    def wait_until(self, state: str, *, within_s: float) -> None:
        """Wait for `ready` or `idle`.

        Raises:
            TimeoutError: it did not come in time.
        """
        until_s = time.monotonic() + within_s
        while not (self._is_up() if state == "ready" else self.busy_slots() == 0):
            if time.monotonic() > until_s:
                raise TimeoutError(f"the server was not {state} within {within_s:g} s")
            time.sleep(0.005)

    def _is_up(self) -> bool:
        try:
            return "ok" in self._get("/health")
        except OSError:  # refused, or 503 while it loads
            return False

    def _get(self, path: str) -> str:
        with _OPEN(self.url + path, timeout=10) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def serving(folder: Path) -> Iterator[TinyLlama]:
    """Make the model in `folder` and serve it from a process of its own."""
    model = folder / "tiny.gguf"
    write_model(model)
    arguments = [str(model), str(SLOTS), str(CONTEXT_TOKENS), MODEL]
    with (
        (folder / "server.log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-c", _SERVE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url, (folder / "server.log").read_text()
            llama = TinyLlama(url)
            llama.wait_until("ready", within_s=15.0)
            yield llama
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                process.kill()


def write_model(path: Path) -> None:
    """Write a Llama of random weights, the same ones each time.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (2026-11-20)
    """
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*_SPECIAL, *_PLAIN])
    writer.add_token_scores([0.0] * (len(_SPECIAL) + len(_PLAIN)))
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(_PLAIN)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE)
    _add_weights(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_weights(writer: Any) -> None:
    import numpy as np

    dice = np.random.default_rng(7)
    add = writer.add_tensor

    def weigh(name: str, *shape: int) -> None:
        add(name, dice.standard_normal(shape, dtype=np.float32) * np.float32(0.2))

    words = len(_SPECIAL) + len(_PLAIN)
    weigh("token_embd.weight", words, _WIDTH)
    scores = dice.standard_normal((words, _WIDTH), dtype=np.float32) * np.float32(0.2)
    scores[: len(_SPECIAL)] = 0
    add("output.weight", scores)
    add("output_norm.weight", np.ones(_WIDTH, np.float32))
    for layer in range(_LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{norm}.weight", np.ones(_WIDTH, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weigh(f"blk.{layer}.{part}.weight", _WIDTH, _WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            weigh(f"blk.{layer}.{part}.weight", _INNER, _WIDTH)
        weigh(f"blk.{layer}.ffn_down.weight", _WIDTH, _INNER)
