"""
Cache of the models that a process has loaded, with LRU eviction by memory and an idle timeout.

A model is identified by the content of its files (`ModelKey`), not by their paths; see `get_loaded_model`.
"""

import gc
import sys
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast

from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.runtime.config import RuntimeConfig

T = TypeVar("T")

DEFAULT_BUDGET_BYTES: Final = 6 * 1024**3
DEFAULT_IDLE_S: Final = 600.0

_all_caches = weakref.WeakSet["ModelCache"]()


class ModelKey(NamedTuple):
    """
    The identity of a loaded model. Equal keys give equal results.

    Attributes:
        name:    registry name of the model.
        digest:  digest of the content of its files, see `PinnedModel`.
        variant: device, precision and other options that affect loading.
    """

    name: str
    digest: str | None
    variant: tuple[Hashable, ...] = ()


@dataclass(slots=True)
class _CachedModel:
    net: object
    size: int
    used_at: float


class ModelCache:
    """
    A cache of models by key with a memory limit. Thread-safe.

    An evicted model stays alive as long as it is referenced, so a running step never loses its models.
    """

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES, idle_s: float = DEFAULT_IDLE_S) -> None:
        """
        Create an empty cache.

        Args:
            budget_bytes: memory limit of all models; the newest model stays even if it alone exceeds the
                limit.
            idle_s:       unload models that have been idle for this many seconds; 0 = never.
        """
        self.loads = Counter[Hashable]()
        """Number of loads per key."""
        self._budget, self._idle_s = budget_bytes, idle_s
        self._items = OrderedDict[Hashable, _CachedModel]()
        self._lock = threading.RLock()
        self._idle_timer: threading.Timer | None = None
        _all_caches.add(self)

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """
        Return a model, loading it if it is not cached. Concurrent calls wait, so no model is loaded twice.

        Args:
            key:  identifies content, device and precision. If a `ModelKey` has a new digest, the old content
                of that model is evicted first, so that the device need not hold both.
            load: loads the model; its exceptions are passed on.
        """
        with self._lock:
            item = self._items.get(key)
            if item is None:
                self._release_replaced(key)
                self.loads[key] += 1
                net = load()
                item = self._items[key] = _CachedModel(net, parameter_bytes(net), 0.0)
                self._evict_to_budget(keep=key)
            item.used_at = time.monotonic()
            self._items.move_to_end(key)
            self._schedule_idle_sweep()
            return cast(T, item.net)

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Keys of the cached models, least recently used first."""
        with self._lock:
            return tuple(self._items)

    @property
    def bytes(self) -> int:
        """Bytes of all cached models."""
        with self._lock:
            return sum(item.size for item in self._items.values())

    def _release_replaced(self, key: Hashable) -> None:
        if not isinstance(key, ModelKey):
            return
        models = [known for known in self._items if isinstance(known, ModelKey)]
        replaced = [known for known in models if known.name == key.name and known.digest != key.digest]
        for known in replaced:
            del self._items[known]
        if replaced:
            _release_memory()

    def _evict_to_budget(self, keep: Hashable) -> None:
        has_evicted = False
        while self.bytes > self._budget and len(self._items) > 1:
            oldest = next(key for key in self._items if key != keep)
            del self._items[oldest]
            has_evicted = True
        if has_evicted:
            _release_memory()

    def _schedule_idle_sweep(self) -> None:
        if self._idle_s and self._idle_timer is None:
            self._idle_timer = threading.Timer(self._idle_s, self._evict_idle)
            self._idle_timer.daemon = True
            self._idle_timer.start()

    def _evict_idle(self) -> None:
        with self._lock:
            self._idle_timer = None
            limit = time.monotonic() - self._idle_s
            idle = [key for key, item in self._items.items() if item.used_at <= limit]
            for key in idle:
                del self._items[key]
            if self._items:
                self._schedule_idle_sweep()
        if idle:
            _release_memory()


def model_caches() -> tuple[ModelCache, ...]:
    """Return all model caches of this process, for metrics about loaded models."""
    return tuple(_all_caches)


@lru_cache(maxsize=4)
def model_cache(budget_bytes: int, idle_s: float) -> ModelCache:
    """Return the model cache of this process with these limits, shared by everything that loads models."""
    return ModelCache(budget_bytes, idle_s)


def get_loaded_model(
    runtime: RuntimeConfig,
    pinned: PinnedModel,
    variant: tuple[Hashable, ...],
    load: Callable[[dict[str, Path]], T],
) -> T:
    """
    Return a model by its content, loading it at first use.

    A loaded model is returned even if its files have changed since.

    Args:
        runtime: models folder and memory limits.
        pinned:  the content of the model.
        variant: everything else that affects the result of `load`: device, precision, options.
        load:    see `LocalModels.load`.

    Raises:
        ModelChanged, ModelNotInstalled, WeightsInvalid: see `LocalModels.load`.
    """
    key = ModelKey(pinned.name, pinned.digest, variant)
    cache = model_cache(runtime.memory_bytes, runtime.idle_s)
    return cache.get(key, lambda: runtime.local_models.load(pinned, load))


def parameter_bytes(net: object) -> int:
    """
    Return the bytes of a loaded model.

    They are its `memory_bytes` if it has this attribute (models outside torch), else the bytes of parameters
    and buffers of a module, or of the modules in an object's attributes.
    """
    declared = getattr(net, "memory_bytes", None)
    if isinstance(declared, int):
        return declared
    torch = _imported_torch()
    if torch is None:
        return 0
    modules: list[Any] = [
        part for part in (net, *_attribute_values(net)) if isinstance(part, torch.nn.Module)
    ]
    modules = modules[:1] if modules and modules[0] is net else modules
    tensors = (t for m in modules for t in (*m.parameters(), *m.buffers()))
    dense = {t.data_ptr(): t.nbytes for t in tensors if t.layout == torch.strided}  # sparse tensors are tiny
    return sum(dense.values())


def _attribute_values(net: object) -> list[object]:
    names = getattr(net, "__slots__", ()) or getattr(net, "__dict__", ())
    return [getattr(net, name) for name in names]


def _imported_torch() -> Any:
    """Return torch if it is imported, else None: then no torch model is loaded."""
    return sys.modules.get("torch")


def _release_memory() -> None:
    gc.collect()
    torch = _imported_torch()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
