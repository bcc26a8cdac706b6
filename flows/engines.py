"""Selection of the rendering engine for a job."""

from typing import Protocol

from flows.musetalk_options import MuseTalkOptions, Version
from flows.schemas import Engine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions, resolve_options
from tasks.models import EngineSpec, choose_engine


class EngineRequest(Protocol):
    """A job that selects a rendering engine."""

    @property
    def engine(self) -> Engine:
        """Requested engine; `auto` selects the best installed one."""
        ...

    @property
    def version(self) -> Version:
        """MuseTalk version."""
        ...

    @property
    def musetalk(self) -> MuseTalkOptions:
        """MuseTalk options."""
        ...


def resolve_engine(job: EngineRequest) -> EngineSpec:
    """
    Return the engine for a job. `auto` is resolved here and nowhere else.

    Raises:
        InputError:        the options are incompatible with each other.
        ModelNotInstalled: the weights of the requested engine are not installed.
    """
    options = MuseTalkEngineOptions(version=job.version, **job.musetalk.model_dump())
    resolve_options(options)
    return choose_engine(job.engine, options)
