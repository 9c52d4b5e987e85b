"""Models in memory: each is loaded once, by its own thread, and stays."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from msgspec import Struct

from trunkline.errors import ConfigError, ProviderError, UpstreamNotFound
from trunkline.observability.redact import scrub

T = TypeVar("T")


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
        self.place = place
        self.worker = ThreadPoolExecutor(1, thread_name_prefix=f"trunkline-{name}")
        """The thread in which it is loaded and answers, one call after the other."""
        self._loaded: Loaded | None = None

    def load(self) -> Loaded:
        """Return it, loading it with the first call; called by the worker.

        One that cannot be loaded is forgotten: callers choose the names.

        Raises:
            ConfigError: the packages are not installed.
            UpstreamNotFound: there is no such model here.
            ProviderError: it cannot be loaded, or has no chat template.
        """
        if self._loaded is None:
            try:
                self._loaded = self._load()
            except BaseException:
                _forget(self)
                raise
        return self._loaded

    def _load(self) -> Loaded:
        torch, library = packages()
        place = self.place
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


def submit(name: str, place: Place, work: Callable[[Model], T]) -> Future[T]:
    """Do `work` with the model `name` of `place`, after what it was given before."""
    with _finding:
        if (name, place) not in _models:
            _models[name, place] = Model(name, place)
        model = _models[name, place]
        return model.worker.submit(work, model)


def _forget(model: Model) -> None:
    with _finding:
        if _models.get((model.name, model.place)) is model:
            del _models[model.name, model.place]
        model.worker.shutdown(wait=False)  # those who wait in it are still answered


os.register_at_fork(after_in_child=_models.clear)  # threads do not come along
