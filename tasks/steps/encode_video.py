"""Prefect tasks that encode video: each chunk, the audio, then a join without re-encoding."""

from contextlib import closing
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.errors import EncodeError
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.media.image.opening_card import CardPainter
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.audio_track import encode_audio_track as write_sound
from musetalk_core.media.output.mux import join_chunks as join_files
from musetalk_core.media.output.tags import MediaTags, synthetic_video_tags
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.rendering.compose import compose
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.models.engines import get_engine
from tasks.refs import Artefact, SourceFile
from tasks.run.cancellation import raise_if_cancelled
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_IO, traced
from tasks.settings import get_settings
from tasks.steps.picture_changes import mask_cache, picture_changes
from tasks.steps.preview_frames import preview_frames
from tasks.steps.render_chunk import ChunkRef, RenderJob

CLIP_KIND, SOUND_KIND, VIDEO_KIND = "clip", "sound", "video"
CLIP_FILE, SOUND_FILE, VIDEO_FILE = "clip.mp4", "sound.m4a", "video.mp4"


def clip_key(crops: str, render_job: RenderJob) -> str:
    """Return the cache key of an encoded chunk: its crops and the encoding parameters."""
    return content_key(
        kind=CLIP_KIND,
        core=CORE_VERSION,
        crops=crops,
        blended_by=get_engine(render_job.engine).cache_fingerprint("blend"),
        crf=render_job.crf,
        preset=render_job.preset,
        idle=render_job.idle_seed,
        **_picture_changes(render_job),
    )


def _picture_changes(render_job: RenderJob) -> dict[str, Any]:
    """Return the parts of a key for what is added to pictures; jobs without it keep their keys."""
    added = {"label": render_job.label, "card": render_job.card}
    parts: dict[str, Any] = {name: asdict(one) for name, one in added.items() if one is not None}
    return parts if render_job.mark is None else {**parts, "mark": render_job.mark}


def video_key(clips: list[str], audio: SourceFile, tags: MediaTags | None = None) -> str:
    """Return the cache key of a finished video: its encoded chunks, its audio and its tags."""
    tag_parts = {} if tags is None else {"tags": tags.to_metadata()}
    return content_key(kind=VIDEO_KIND, core=CORE_VERSION, clips=clips, audio=audio.sha256, **tag_parts)


def video_tags(engine: str) -> MediaTags | None:
    """Return the tags of a video that an engine renders; None if tags are off."""
    return synthetic_video_tags(engine) if get_settings().mark.tags else None


@task(**CACHED_BY_CONTENT, **RETRY_IO)
@traced
def encode_chunk(key: str, talk: RenderJob, chunk: ChunkRef, crops: Artefact | None) -> Artefact:
    """
    Paste the crops of one chunk into the frames and encode them as `clip.mp4`.

    The crops stay in the cache up to a size limit: another mask, quality or idle motion reuses them.

    Args:
        key:   `clip_key` of the other arguments.
        talk:  the render job.
        chunk: the chunk.
        crops: the cache entry from `render_chunk`; None if the encoded chunk is known to exist.
    """
    if crops is not None:  # they may be older than the parts that their masks are in
        talk.encode_needed_faces(talk.open_scene().source_frames(chunk.to_chunk()))
    with phase("encode", talk.features.frames):

        def make(folder: Path) -> None:
            if crops is None:
                raise EncodeError(f"chunk {chunk.number} was removed from the cache while it was in use")
            _encode_frames(talk, chunk, artefact_cache().path(crops), folder / CLIP_FILE)

        artefact = artefact_cache().get_or_create(CLIP_KIND, key, make)
    if crops is not None:
        artefact_cache().limit_kind(crops, get_settings().store.crops_bytes)
    return artefact


def _encode_frames(render_job: RenderJob, chunk: ChunkRef, crops: Path, target: Path) -> None:
    settings, scene = get_settings(), render_job.open_scene()
    pictures = compose(
        scene,
        get_engine(render_job.engine),
        CropReader.open(crops),
        chunk.to_chunk(),
        render_job.idle_seed,
        mask_cache(scene.avatar.folder, scene.avatar.folder.stat().st_ino, render_job.engine),
    )
    manifest = scene.avatar.manifest
    size = manifest.width, manifest.height
    label, mark = picture_changes(render_job, *size)
    card = CardPainter(render_job.card, *size, scene.rate) if render_job.card else None
    with (
        VideoEncoder(
            target,
            manifest.width,
            manifest.height,
            scene.rate,
            crf=render_job.crf,
            preset=render_job.preset,
            ffmpeg=settings.media.ffmpeg,
        ) as encoder,
        closing(pictures),
        preview_frames() as sampler,
    ):
        for frame, picture in enumerate(pictures, chunk.start):
            raise_if_cancelled()  # a restoration network takes a second per frame on a CPU
            finished = mark(label(card.draw(picture, frame) if card else picture))
            encoder.write(finished)
            if sampler is not None:
                sampler.offer(frame, partial(_same, finished))


def _same(picture: Picture) -> Picture:
    return picture


def sound_key(audio: SourceFile) -> str:
    """Return the cache key of an encoded audio track."""
    return content_key(kind=SOUND_KIND, core=CORE_VERSION, audio=audio.sha256)


@task(**CACHED_BY_CONTENT, **RETRY_IO)
@traced
def encode_sound(key: str, audio: SourceFile) -> Artefact:
    """
    Encode the audio as `sound.m4a`, concurrently with rendering. Videos with the same audio share it.

    Args:
        key:   `sound_key` of the other arguments.
        audio: the fetched audio.
    """
    with phase("encode", concurrent=True):

        def make(folder: Path) -> None:
            write_sound(
                source_path(audio),
                folder / SOUND_FILE,
                limits=media_limits(),
                ffmpeg=get_settings().media.ffmpeg,
            )

        return artefact_cache().get_or_create(SOUND_KIND, key, make)


@task(**CACHED_BY_CONTENT, **RETRY_IO)
@traced
def join(key: str, talk: RenderJob, clips: list[Artefact], sound: Artefact) -> Artefact:
    """
    Concatenate the encoded chunks and add the audio, without re-encoding, as `video.mp4`.

    Args:
        key:   `video_key` of the other arguments.
        talk:  the render job.
        clips: cache entries of the encoded chunks, in order; may be empty if the video is known to exist.
        sound: cache entry from `encode_sound`.
    """
    with phase("join"):

        def make(folder: Path) -> None:
            files = [artefact_cache().file(clip, CLIP_FILE) for clip in clips]
            track = artefact_cache().file(sound, SOUND_FILE)
            join_files(
                files,
                track,
                folder / VIDEO_FILE,
                rate=Fraction(talk.rate),
                limits=media_limits(),
                tags=video_tags(talk.engine.name),
            )

        return artefact_cache().get_or_create(VIDEO_KIND, key, make)
