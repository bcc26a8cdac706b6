"""Resource use of a child process: resident memory, GPU memory, loaded models and GPU health."""

import os
import sys
from pathlib import Path
from typing import Any

from deployments.warm.protocol import Beat

_PAGE = os.sysconf("SC_PAGE_SIZE")


def rss() -> int:
    """Return the resident memory of this process in bytes; 0 where /proc is not available."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def beat() -> Beat:
    """Return a heartbeat with the resource use of this process, without importing torch or any model."""
    counted = _loads()
    return Beat(rss=rss(), device=_device_bytes(), models=tuple(sorted(_loaded())), loads=counted)


def card_fault() -> str | None:
    """Return why the CUDA context has failed, which is permanent; None if it works or is unused."""
    torch = _cuda()
    if torch is None:
        return None
    try:
        torch.cuda.synchronize()
    except Exception as error:
        return f"the GPU failed: {type(error).__name__}"
    return None


def _device_bytes() -> int:
    torch = _cuda()
    try:
        return int(torch.cuda.memory_reserved()) if torch is not None else 0
    except Exception:
        return 0


def _cuda() -> Any:
    torch: Any = sys.modules.get("torch")
    ready = torch is not None and getattr(torch, "cuda", None) is not None and torch.cuda.is_initialized()
    return torch if ready else None


def _shelves() -> list[Any]:
    shelf: Any = sys.modules.get("musetalk_core.nets.shelf")
    return list(shelf.shelves()) if shelf is not None else []


def _loaded() -> set[str]:
    return {_name(key) for shelf in _shelves() for key in shelf.keys}


def _loads() -> dict[str, int]:
    counted: dict[str, int] = {}
    for shelf in _shelves():
        for key, times in dict(shelf.loads).items():
            counted[_name(key)] = counted.get(_name(key), 0) + times
    return counted


def _name(key: Any) -> str:
    return str(key[0] if isinstance(key, tuple) and key else key)
