"""Bring an input here: one look at the outside world per job, a download only when it changed."""

from fractions import Fraction
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict, Field

from musetalk_core.media.info import MediaInfo
from musetalk_core.media.probe import probe, require_picture, require_sound
from tasks import jobs
from tasks.internal_files import InternalFile
from tasks.limits import limits
from tasks.policies import ALWAYS, RETRY_IO
from tasks.refs import SourceFile
from tasks.reports import phase
from tasks.sources import fetch_source, source_path


class Fetched(BaseModel):
    """An input that lies on this machine and was looked at."""

    model_config = ConfigDict(frozen=True)

    given: str | None = Field(repr=False)
    """The reference as the job has it; may carry a signed query. None for what a step of the job made."""
    source: SourceFile
    duration_s: float | None
    rate: str | None
    frames: int
    """About how many frames the picture has."""
    phones_of: str | None = None
    """Key of the spoken text this sound came from, when one of our speech jobs made it."""


@task(**ALWAYS, **RETRY_IO)
def fetch(given: str | InternalFile, wanted: Literal["video", "audio"]) -> Fetched:
    """
    Fetch and check one input.

    Args:
        given:  a reference as the job has it, or what another step made.
        wanted: what it must have.

    Raises:
        InputError: it is missing, unreachable, too large, damaged, or lacks the picture or sound asked for.
    """
    with phase("fetch"):
        found = jobs.resolve(given)
        source = fetch_source(found.where, kind=wanted)
        info = probe(source_path(source), limits())
        require = require_picture if wanted == "video" else require_sound
        require(info)
        return Fetched(
            given=given if isinstance(given, str) else None,
            source=source,
            duration_s=None if info.duration_s is None else float(info.duration_s),
            rate=_rate(info),
            frames=info.video.frames or 1 if info.video else 0,
            phones_of=found.speech,
        )


def _rate(info: MediaInfo) -> str | None:
    return str(Fraction(info.video.rate)) if info.video and info.kind == "video" else None
