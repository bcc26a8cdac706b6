"""The models of this process: each is loaded on first use and kept."""

from functools import lru_cache

from musetalk_core.engine import Engine
from musetalk_core.loader import EngineName, load_engine


def engine_name(asked: str) -> EngineName:
    """Turn a job's engine word into an engine; `auto` takes the best one installed."""
    return "fake" if asked == "fake" else "viseme"


@lru_cache(maxsize=4)
def engine(name: EngineName) -> Engine:
    """Load an engine once per process."""
    return load_engine(name)
