"""Prefect task that fetches and checks video and audio inputs; unchanged inputs come from the cache."""

from fractions import Fraction
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict, Field

from musetalk_core.media.probe import probe, require_audio, require_picture
from musetalk_core.media.source.info import MediaInfo
from tasks.inputs import job_outputs
from tasks.inputs.internal_files import InternalFile
from tasks.inputs.sources import fetch_source, source_path
from tasks.refs import SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import NOT_CACHED, RETRY_IO, traced


class FetchedInput(BaseModel):
    """An input that was fetched to this machine and probed."""

    model_config = ConfigDict(frozen=True)

    given: str | None = Field(repr=False)
    """The job's reference, perhaps with a signed query. None for a file that a step of the job made."""
    source: SourceFile
    duration_s: float | None
    rate: str | None
    frames: int
    """Approximate number of video frames."""
    phones_of: str | None = None
    """Cache key of the spoken text of this audio, if a speech job of this system made it."""
    warnings: tuple[str, ...] = ()
    """Warnings about the picture."""


@task(**NOT_CACHED, **RETRY_IO)
@traced
def fetch(given: str | InternalFile, wanted: Literal["video", "audio"]) -> FetchedInput:
    """
    Fetch and check one input.

    Args:
        given:  the job's reference, or a file that another step made.
        wanted: the kind of stream that the input must have.

    Raises:
        InputError: the input is missing, unreachable, too large or damaged, or lacks the stream.
    """
    with phase("fetch"):
        resolved = job_outputs.resolve_input(given)
        source = fetch_source(resolved.location, kind=wanted)
        info = probe(source_path(source), media_limits())
        require = require_picture if wanted == "video" else require_audio
        require(info)
        return FetchedInput(
            given=given if isinstance(given, str) else None,
            source=source,
            duration_s=None if info.duration_s is None else float(info.duration_s),
            rate=_rate_text(info),
            frames=info.video.frames or 1 if info.video else 0,
            phones_of=resolved.speech,
            warnings=info.warnings if wanted == "video" else (),
        )


def _rate_text(info: MediaInfo) -> str | None:
    return str(Fraction(info.video.render_rate)) if info.video and info.kind == "video" else None
