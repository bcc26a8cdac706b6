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

from musetalk_core.machine import Machine
from musetalk_core.weights.pins import PinnedModel

T = TypeVar("T")

BUDGET: Final = 6 * 1024**3
IDLE_S: Final = 600.0

_shelves = weakref.WeakSet["Shelf"]()


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
class _Item:
    net: object
    size: int
    used_at: float


class Shelf:
    """
    A cache of models by key with a memory limit. Thread-safe.

    An evicted model stays alive as long as it is referenced, so a running step never loses its models.
    """

    def __init__(self, budget_bytes: int = BUDGET, idle_s: float = IDLE_S) -> None:
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
        self._items = OrderedDict[Hashable, _Item]()
        self._lock = threading.RLock()
        self._sweeper: threading.Timer | None = None
        _shelves.add(self)

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
                item = self._items[key] = _Item(net, size_of(net), 0.0)
                self._shrink(keep=key)
            item.used_at = time.monotonic()
            self._items.move_to_end(key)
            self._sweep_later()
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
            _give_back()

    def _shrink(self, keep: Hashable) -> None:
        let_go = False
        while self.bytes > self._budget and len(self._items) > 1:
            oldest = next(key for key in self._items if key != keep)
            del self._items[oldest]
            let_go = True
        if let_go:
            _give_back()

    def _sweep_later(self) -> None:
        if self._idle_s and self._sweeper is None:
            self._sweeper = threading.Timer(self._idle_s, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            limit = time.monotonic() - self._idle_s
            idle = [key for key, item in self._items.items() if item.used_at <= limit]
            for key in idle:
                del self._items[key]
            if self._items:
                self._sweep_later()
        if idle:
            _give_back()


def shelves() -> tuple[Shelf, ...]:
    """Return all model caches of this process, for metrics about loaded models."""
    return tuple(_shelves)


@lru_cache(maxsize=4)
def shelf(budget_bytes: int, idle_s: float) -> Shelf:
    """Return the model cache of this process with these limits, shared by everything that loads models."""
    return Shelf(budget_bytes, idle_s)


def loaded_model(
    machine: Machine, pinned: PinnedModel, variant: tuple[Hashable, ...], load: Callable[[dict[str, Path]], T]
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
    cache = shelf(machine.memory_bytes, machine.idle_s)
    return cache.get(key, lambda: machine.layout.load(pinned, load))


def size_of(net: object) -> int:
    """Return the bytes of parameters and buffers of a module, or of the modules in an object's attributes."""
    torch = _torch()
    if torch is None:
        return 0
    modules: list[Any] = [part for part in (net, *_parts(net)) if isinstance(part, torch.nn.Module)]
    modules = modules[:1] if modules and modules[0] is net else modules
    tensors = (t for m in modules for t in (*m.parameters(), *m.buffers()))
    dense = {t.data_ptr(): t.nbytes for t in tensors if t.layout == torch.strided}  # sparse tensors are tiny
    return sum(dense.values())


def _parts(net: object) -> list[object]:
    names = getattr(net, "__slots__", ()) or getattr(net, "__dict__", ())
    return [getattr(net, name) for name in names]


def _torch() -> Any:
    """Return torch if it is imported, else None: then no torch model is loaded."""
    return sys.modules.get("torch")


def _give_back() -> None:
    gc.collect()
    torch = _torch()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
