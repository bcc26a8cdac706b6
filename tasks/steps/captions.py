"""Prefect tasks that add captions (SubRip or WebVTT) to a video: burned in, or as a subtitle track."""

from pathlib import Path
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.media.output import captions as media
from musetalk_core.media.probe import probe
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs import job_outputs
from tasks.inputs.sources import fetch_source, source_path
from tasks.refs import Artefact, SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, NOT_CACHED, RETRY_COMPUTE, RETRY_IO, traced
from tasks.settings import get_settings

CAPTIONED_KIND = "captioned"
_VERSION = 2
"""Part of the cache key; raised if the same inputs give another video."""
CAPTIONED_FILE, _FACTS_FILE = "video.mp4", "facts.json"


class CaptionStyle(BaseModel):
    """How captions are shown: burned into the picture or as a track, their size and side, and the CRF."""

    model_config = ConfigDict(frozen=True)

    how: Literal["burned", "track"]
    size: float
    side: Literal["bottom", "top"]
    crf: int
    encoding: str | None = None
    """Encoding of the caption file, if the job states it."""


class FetchedCaptions(BaseModel):
    """A captions file that was fetched and parsed; `lines` is its number of captions."""

    model_config = ConfigDict(frozen=True)

    source: SourceFile
    lines: int
    warnings: tuple[str, ...] = ()


@task(**NOT_CACHED, **RETRY_IO)
@traced
def fetch_captions(uri: str, encoding: str | None = None) -> FetchedCaptions:
    """
    Fetch and parse a captions file.

    Args:
        uri:      the job's reference.
        encoding: of the text, if the job states it.

    Raises:
        InputError: the file is missing, or is neither SubRip nor WebVTT.
    """
    with phase("fetch"):
        source = fetch_source(job_outputs.resolve_input(uri).location, kind="text")
        captions, warnings = media.read_captions(source_path(source), encoding)
        return FetchedCaptions(source=source, lines=len(captions), warnings=warnings)


class CaptionedFacts(BaseModel):
    """The length of a captioned video and the warnings about it."""

    model_config = ConfigDict(frozen=True)

    duration_s: float
    warnings: tuple[str, ...]


def captioned_facts(artefact: Artefact) -> CaptionedFacts:
    """Return the facts of a captioned video from its cache entry."""
    text = artefact_cache().file(artefact, _FACTS_FILE).read_text(encoding="utf-8")
    return CaptionedFacts.model_validate_json(text)


def captioned_key(video: SourceFile, captions: SourceFile, style: CaptionStyle) -> str:
    """Return the cache key of a captioned video."""
    style_parts = style.model_dump(include=None if style.how == "burned" else {"how", "encoding"})
    return content_key(
        kind=CAPTIONED_KIND,
        core=CORE_VERSION,
        version=_VERSION,
        video=video.sha256,
        captions=captions.sha256,
        **style_parts,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def put_captions(key: str, video: SourceFile, captions: SourceFile, look: CaptionStyle) -> Artefact:
    """
    Add captions to a video and store it as `video.mp4` in the cache entry.

    Args:
        key:      `captioned_key` of the other arguments.
        video:    the fetched video.
        captions: the fetched captions.
        look:     how to show them.

    Raises:
        InputError:  the file has no video stream.
        EncodeError: the video could not be written.
    """

    def make(folder: Path) -> None:
        caption_lines, _ = media.read_captions(source_path(captions), look.encoding)
        source, limits, ffmpeg = source_path(video), media_limits(), get_settings().media.ffmpeg
        info = probe(source, limits)
        target = folder / CAPTIONED_FILE
        if look.how == "track":
            warnings = media.add_caption_track(
                source, info, caption_lines, target, limits=limits, ffmpeg=ffmpeg
            )
        else:
            warnings = media.burn_captions(
                source,
                info,
                caption_lines,
                target,
                style=media.BurnStyle(look.size, look.side, look.crf),
                limits=limits,
                ffmpeg=ffmpeg,
            )
        made = probe(target, limits)
        duration_s = float(made.duration_s or 0)
        late = media.captions_after_end(caption_lines, duration_s)
        facts = CaptionedFacts(duration_s=duration_s, warnings=(*warnings, *late))
        (folder / _FACTS_FILE).write_text(facts.model_dump_json())

    with phase("encode"):
        return artefact_cache().get_or_create(CAPTIONED_KIND, key, make)
