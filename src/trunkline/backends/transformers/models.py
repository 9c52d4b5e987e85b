"""Models in memory: each is loaded once, by its own thread, and stays."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from msgspec import Struct

from trunkline.errors import ConfigError, ProviderError, UpstreamNotFound
from trunkline.observability.redact import scrub


class Place(Struct, frozen=True, kw_only=True):
    """Where and how models run."""

    device: str = "auto"
    """As torch names it (`cpu`, `cuda`, `cuda:1`, `mps`); `auto` = the best there is."""
    dtype: str = "auto"
    """As torch names it (`float32`, `bfloat16`); `auto` = as the model was saved."""
    download: bool = False
    """True = a model that is not here is fetched from the hub with its first call."""


class Loaded(Struct, frozen=True):
    """What a model consists of; the libraries have no types."""

    network: Any
    tokenizer: Any

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together; None = it does not say."""
        said = getattr(self.network.config, "max_position_embeddings", None)
        return said if isinstance(said, int) else None


class Model:
    """One model by name; everything that touches it is done by its only worker."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self._place = place
        self._loaded: Loaded | None = None

    @cached_property
    def worker(self) -> ThreadPoolExecutor:
        """The thread in which it is loaded and answers, one call after the other."""
        return ThreadPoolExecutor(1, thread_name_prefix=f"trunkline-{self.name}")

    def load(self) -> Loaded:
        """Return it, loading it with the first call; called by the worker. A failure is not kept.

        Raises:
            ConfigError: the packages are not installed.
            UpstreamNotFound: there is no such model here.
            ProviderError: it cannot be loaded, or has no chat template.
        """
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> Loaded:
        torch, library = packages()
        place = self._place
        device = _best(torch) if place.device == "auto" else place.device
        dtype = place.dtype if place.dtype == "auto" else getattr(torch, place.dtype, None)
        if dtype is None:
            raise ConfigError(f"torch has no dtype {place.dtype!r}; write auto, or float32")
        source: dict[str, Any] = {"local_files_only": not place.download}
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(self.name, **source)
            network = library.AutoModelForCausalLM.from_pretrained(self.name, dtype=dtype, **source)
        except OSError as error:
            hint = (
                "name a folder, or a model of the hub"
                if place.download
                else f"it is no folder and not in the cache; run `hf download {self.name}`, or "
                "write download: true"
            )
            raise UpstreamNotFound(
                f"model {self.name!r} is not here: {hint} ({scrub(error, 200)})", sent=False
            ) from error
        except Exception as error:
            raise ProviderError(
                scrub(f"model {self.name!r} cannot be loaded: {type(error).__name__}: {error}"),
                sent=False,
            ) from error
        if not tokenizer.chat_template:
            raise ProviderError(
                f"model {self.name!r} has no chat template, so it was not made for chats; take "
                "its instruction-tuned version",
                sent=False,
            )
        return Loaded(network.to(device).eval(), tokenizer)


def packages() -> tuple[Any, Any]:
    """Import torch and transformers, and keep them from printing.

    Raises:
        ConfigError: one of them is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"provider type transformers needs the packages transformers and torch ({error}); "
            "run: pip install 'trunkline[transformers]'"
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


def _best(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


_models: dict[tuple[str, Place], Model] = {}
_finding = threading.Lock()


def known(name: str, place: Place) -> Model:
    """Return the model `name` of `place`, the same for everybody; it need not be loaded yet."""
    with _finding:
        return _models.setdefault((name, place), Model(name, place))
