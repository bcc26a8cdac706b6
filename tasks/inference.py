"""Prefect task that renders the face crops of a video with an engine, one chunk at a time."""

import os
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION, avatar
from musetalk_core.plan import Chunk
from musetalk_core.render import NoFacePolicy, Scene
from musetalk_core.render import render_chunk as render
from musetalk_core.rows import RowFile
from tasks.artefacts import artefacts, content_key
from tasks.avatar import PreparedAvatar
from tasks.models import EngineSpec, engine
from tasks.policies import BY_CONTENT, RETRY_COMPUTE
from tasks.refs import Artefact, SourceFile
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.sources import source_path
from tasks.speech import SpeechFeatures

CROPS = "crops"


class Talk(BaseModel):
    """The parameters that all chunks of one lip-sync job share."""

    model_config = ConfigDict(frozen=True)

    source: SourceFile
    avatar: PreparedAvatar
    features: SpeechFeatures
    engine: EngineSpec
    rate: str
    no_face: NoFacePolicy
    idle_seed: int | None = None
    crf: int
    preset: str

    def scene(self) -> Scene:
        """Open the avatar and the source, for rendering."""
        folder = artefacts().path(self.avatar.artefact)
        prepared = _avatar(folder, folder.stat().st_ino)
        return Scene(prepared, source_path(self.source), Fraction(self.rate), self.no_face)


@lru_cache(maxsize=2)
def _avatar(folder: Path, inode: int) -> avatar.Avatar:
    """Load an avatar once for all its chunks. The inode differs if the avatar was prepared again."""
    del inode
    return avatar.load(folder)


class ChunkRef(BaseModel):
    """A chunk as JSON: its number, and its frames from `start` up to but not including `stop`."""

    model_config = ConfigDict(frozen=True)

    number: int
    start: int
    stop: int

    def chunk(self) -> Chunk:
        """Return the chunk as the core's type."""
        return Chunk(self.number, self.start, self.stop)


def crops_key(talk: Talk, chunk: Chunk) -> str:
    """Return the cache key of rendered crops: avatar, speech features, engine, rate and frame range."""
    return content_key(
        kind=CROPS,
        core=CORE_VERSION,
        avatar=talk.avatar.artefact.key,
        features=talk.features.artefact.key,
        made_by=engine(talk.engine).made_by("crops"),
        rate=talk.rate,
        no_face=talk.no_face,
        start=chunk.start,
        stop=chunk.stop,
    )


def _fair_share() -> int:
    """Return half of the cores, 1 to 4: the previous chunk is encoded meanwhile, and the GIL limits gains."""
    return min(4, max(1, (os.cpu_count() or 1) // 2))


@task(**BY_CONTENT, **RETRY_COMPUTE)
def render_chunk(key: str, talk: Talk, chunk: ChunkRef) -> Artefact:
    """
    Render the face crops of one chunk into a cache entry.

    Args:
        key:   `crops_key` of the other arguments.
        talk:  the render job.
        chunk: the chunk.
    """
    total = talk.features.frames
    with phase("render", total) as report:

        def make(folder: Path) -> None:
            renderer = engine(talk.engine)
            before = renderer.counts
            render(
                talk.scene(),
                renderer,
                RowFile.open(artefacts().path(talk.features.artefact)),
                chunk.chunk(),
                folder,
                threads=get_settings().render.threads or _fair_share(),
                on_frames=lambda done: report.advance("render", chunk.start + done, total),
            )
            report.rendered(renderer.counts.since(before))

        return artefacts().made_once(CROPS, key, make, shared=False)
