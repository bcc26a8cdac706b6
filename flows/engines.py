"""From the words of a job to the engine its tasks use."""

from typing import Protocol

from flows.musetalk_options import MuseTalkOptions, Version
from flows.schemas import Engine
from musetalk_core.engines.musetalk.options import Options, settled
from tasks.models import EngineSpec, chosen


class Asks(Protocol):
    """A job that names an engine."""

    @property
    def engine(self) -> Engine:
        """Which one."""
        ...

    @property
    def version(self) -> Version:
        """Which MuseTalk."""
        ...

    @property
    def musetalk(self) -> MuseTalkOptions:
        """Its options."""
        ...


def engine_of(job: Asks) -> EngineSpec:
    """
    Decide which engine a job gets; `auto` is settled here, once.

    Raises:
        InputError: options that do not go together.
        ModelNotInstalled: the engine it names has no weights here.
    """
    options = Options(version=job.version, **job.musetalk.model_dump())
    settled(options)
    return chosen(job.engine, options)
