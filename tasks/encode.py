"""Prefect tasks that encode video: each chunk, the audio, then a join without re-encoding."""

from contextlib import closing
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.compose import compose
from musetalk_core.crops import Crops
from musetalk_core.errors import EncodeError
from musetalk_core.masks import MaskCache
from musetalk_core.media.encode import VideoEncoder
from musetalk_core.media.join import encode_sound as write_sound
from musetalk_core.media.join import join as join_files
from tasks.artefacts import artefacts, content_key
from tasks.inference import CROPS, ChunkRef, Talk
from tasks.models import EngineSpec, engine
from tasks.policies import BY_CONTENT, RETRY_IO
from tasks.refs import Artefact, SourceFile
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.sources import source_path

CLIP, SOUND, VIDEO = "clip", "sound", "video"
CLIP_FILE, SOUND_FILE, VIDEO_FILE = "clip.mp4", "sound.m4a", "video.mp4"


def clip_key(crops: str, talk: Talk) -> str:
    """Return the cache key of an encoded chunk: its crops and the encoding parameters."""
    return content_key(
        kind=CLIP,
        core=CORE_VERSION,
        crops=crops,
        blended_by=engine(talk.engine).made_by("blend"),
        crf=talk.crf,
        preset=talk.preset,
        idle=talk.idle_seed,
    )


def video_key(clips: list[str], audio: SourceFile) -> str:
    """Return the cache key of a finished video: its encoded chunks and its audio."""
    return content_key(kind=VIDEO, core=CORE_VERSION, clips=clips, audio=audio.sha256)


@task(**BY_CONTENT, **RETRY_IO)
def encode_chunk(key: str, talk: Talk, chunk: ChunkRef, crops: Artefact | None) -> Artefact:
    """
    Paste the crops of one chunk into the frames and encode them as `clip.mp4`; then delete the crops.

    Args:
        key:   `clip_key` of the other arguments.
        talk:  the render job.
        chunk: the chunk.
        crops: the cache entry from `render_chunk`; None if the encoded chunk is known to exist.
    """
    with phase("encode", talk.features.frames):

        def make(folder: Path) -> None:
            if crops is None:
                raise EncodeError(f"chunk {chunk.number} was removed from the cache while it was in use")
            _encode(talk, chunk, artefacts().path(crops), folder / CLIP_FILE)

        made = artefacts().made_once(CLIP, key, make)
    if crops is not None:
        artefacts().forget(CROPS, crops.key)
    return made


def _encode(talk: Talk, chunk: ChunkRef, crops: Path, target: Path) -> None:
    settings, scene = get_settings(), talk.scene()
    pictures = compose(
        scene,
        engine(talk.engine),
        Crops.open(crops),
        chunk.chunk(),
        talk.idle_seed,
        _masks(scene.avatar.folder, scene.avatar.folder.stat().st_ino, talk.engine),
    )
    known = scene.avatar.manifest
    with (
        VideoEncoder(
            target,
            known.width,
            known.height,
            scene.rate,
            crf=talk.crf,
            preset=talk.preset,
            ffmpeg=settings.media.ffmpeg,
        ) as encoder,
        closing(pictures),
    ):
        for picture in pictures:
            encoder.write(picture)


@lru_cache(maxsize=2)
def _masks(avatar: Path, inode: int, spec: EngineSpec) -> MaskCache:
    """Return the mask cache of an avatar, shared by all its chunks. The inode detects a replaced folder."""
    del avatar, inode, spec
    return MaskCache()


def sound_key(audio: SourceFile) -> str:
    """Return the cache key of an encoded audio track."""
    return content_key(kind=SOUND, core=CORE_VERSION, audio=audio.sha256)


@task(**BY_CONTENT, **RETRY_IO)
def encode_sound(key: str, audio: SourceFile) -> Artefact:
    """
    Encode the audio as `sound.m4a`, concurrently with rendering. Videos with the same audio share it.

    Args:
        key:   `sound_key` of the other arguments.
        audio: the fetched audio.
    """
    with phase("encode", beside=True):

        def make(folder: Path) -> None:
            write_sound(source_path(audio), folder / SOUND_FILE, ffmpeg=get_settings().media.ffmpeg)

        return artefacts().made_once(SOUND, key, make)


@task(**BY_CONTENT, **RETRY_IO)
def join(key: str, talk: Talk, clips: list[Artefact], sound: Artefact) -> Artefact:
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
            files = [artefacts().file(clip, CLIP_FILE) for clip in clips]
            track = artefacts().file(sound, SOUND_FILE)
            join_files(files, track, folder / VIDEO_FILE, rate=Fraction(talk.rate))

        return artefacts().made_once(VIDEO, key, make)
