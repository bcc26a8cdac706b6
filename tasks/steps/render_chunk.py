"""Prefect task that renders the face crops of a video with an engine, one chunk at a time."""

import os
from fractions import Fraction
from pathlib import Path

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.formats.float_rows import Float32RowFile
from musetalk_core.media.image.corner_label import CornerLabel
from musetalk_core.media.image.opening_card import OpeningCard
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.render_chunk import NoFacePolicy, Scene
from musetalk_core.rendering.render_chunk import render_chunk as render
from musetalk_core.types import Ints
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.models.engines import EngineSpec, get_engine
from tasks.refs import Artefact, SourceFile
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced
from tasks.settings import get_settings
from tasks.steps.prepare_avatar import PreparedAvatar, encode_needed_faces, open_avatar
from tasks.steps.preview_frames import previewed_crops
from tasks.steps.speech_features import SpeechFeatures

CROPS_KIND = "crops"


class RenderJob(BaseModel):
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
    label: CornerLabel | None = None
    """Text in a corner of the pictures; None = none."""
    card: OpeningCard | None = None
    """Card over the first seconds; None = none."""
    mark: str | None = None
    """Id of the key with which the pictures are marked; None = no mark."""

    def open_scene(self) -> Scene:
        """Open the avatar and the source, for rendering; `encode_needed_faces` comes before."""
        avatar = open_avatar(self.avatar.artefact)
        return Scene(avatar, source_path(self.source), Fraction(self.rate), self.no_face)

    def encode_needed_faces(self, frames: Ints) -> None:
        """Encode the faces of some source frames unless they are in the cache."""
        encode_needed_faces(self.avatar.artefact, self.source, self.engine, frames)


class ChunkRef(BaseModel):
    """A chunk as JSON: its number, and its frames from `start` up to but not including `stop`."""

    model_config = ConfigDict(frozen=True)

    number: int
    start: int
    stop: int

    def to_chunk(self) -> Chunk:
        """Return the chunk as the core's type."""
        return Chunk(self.number, self.start, self.stop)


def crops_key(render_job: RenderJob, chunk: Chunk) -> str:
    """Return the cache key of rendered crops: avatar, speech features, engine, rate and frame range."""
    return content_key(
        kind=CROPS_KIND,
        core=CORE_VERSION,
        avatar=render_job.avatar.artefact.key,
        features=render_job.features.artefact.key,
        made_by=get_engine(render_job.engine).cache_fingerprint("crops"),
        rate=render_job.rate,
        no_face=render_job.no_face,
        start=chunk.start,
        stop=chunk.stop,
    )


def _default_threads() -> int:
    """Return half of the cores, 1 to 4: the previous chunk is encoded meanwhile, and the GIL limits gains."""
    return min(4, max(1, (os.cpu_count() or 1) // 2))


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def render_chunk(key: str, talk: RenderJob, chunk: ChunkRef) -> Artefact:
    """
    Encode the faces that one chunk needs, and render its face crops into a cache entry.

    Args:
        key:   `crops_key` of the other arguments.
        talk:  the render job.
        chunk: the chunk.
    """
    total = talk.features.frames
    talk.encode_needed_faces(talk.open_scene().source_frames(chunk.to_chunk()))
    with phase("render", total) as report:

        def make(folder: Path) -> None:
            renderer, scene = get_engine(talk.engine), talk.open_scene()
            counts_before = renderer.render_stats
            with previewed_crops(talk, scene, chunk.start) as on_crop:
                render(
                    scene,
                    renderer,
                    Float32RowFile.open(artefact_cache().path(talk.features.artefact)),
                    chunk.to_chunk(),
                    folder,
                    threads=get_settings().render.threads or _default_threads(),
                    on_frames=lambda done: report.advance("render", chunk.start + done, total),
                    on_crop=on_crop,
                )
            report.add_render_stats(renderer.render_stats.since(counts_before))

        return artefact_cache().get_or_create(CROPS_KIND, key, make, shared=False)
