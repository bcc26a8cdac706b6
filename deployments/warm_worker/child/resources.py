"""Resource use of a child process: resident memory, GPU memory, loaded models and GPU health."""

import os
import sys
from pathlib import Path
from typing import Any

from deployments.warm_worker.child.protocol import Heartbeat
from tasks.run.counters import counts
from tasks.run.usage import running_usage

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; 0 where /proc is not available."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def collect_heartbeat() -> Heartbeat:
    """Return a heartbeat with the resource use of this process, without importing torch or any model."""
    load_counts = _load_counts()
    return Heartbeat(
        rss=resident_bytes(),
        device=_device_bytes(),
        models=tuple(sorted(_loaded_model_names())),
        loads=load_counts,
        counts=counts(),
        usage=running_usage(),
    )


def gpu_failure() -> str | None:
    """Return why the CUDA context has failed, which is permanent; None if it works or is unused."""
    torch = _torch_with_cuda()
    if torch is None:
        return None
    try:
        torch.cuda.synchronize()
    except Exception as error:
        return f"the GPU failed: {type(error).__name__}"
    return None


def _device_bytes() -> int:
    torch = _torch_with_cuda()
    try:
        return int(torch.cuda.memory_reserved()) if torch is not None else 0
    except Exception:
        return 0


def _torch_with_cuda() -> Any:
    torch: Any = sys.modules.get("torch")
    ready = torch is not None and getattr(torch, "cuda", None) is not None and torch.cuda.is_initialized()
    return torch if ready else None


def _model_caches() -> list[Any]:
    module: Any = sys.modules.get("musetalk_core.runtime.model_cache")
    return list(module.model_caches()) if module is not None else []


def _loaded_model_names() -> set[str]:
    return {_model_name(key) for cache in _model_caches() for key in cache.keys}


def _load_counts() -> dict[str, int]:
    load_counts: dict[str, int] = {}
    for shelf in _model_caches():
        for key, times in dict(shelf.loads).items():
            load_counts[_model_name(key)] = load_counts.get(_model_name(key), 0) + times
    return load_counts


def _model_name(key: Any) -> str:
    return str(key[0] if isinstance(key, tuple) and key else key)
