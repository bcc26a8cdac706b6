"""The models of this process: each is loaded on first use and kept."""

from functools import lru_cache
from typing import cast

from musetalk_core.engine import Engine
from musetalk_core.loader import EngineName, load_engine
from tasks.settings import get_settings


def engine_name(asked: str) -> EngineName:
    """Turn a job's engine word into an engine; `auto` is what the operator set."""
    return get_settings().render.engine if asked == "auto" else cast(EngineName, asked)


@lru_cache(maxsize=4)
def engine(name: EngineName) -> Engine:
    """Load an engine once per process, and leave the threads to the tasks: each renders in its own."""
    import cv2

    cv2.setNumThreads(1)
    return load_engine(name)
