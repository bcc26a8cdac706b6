"""From crops to a finished file: one picture encode a chunk, then a join that copies it."""

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
    """Name an encoded chunk by its crops and how it is encoded."""
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
    """Name a finished video by its chunks and its sound."""
    return content_key(kind=VIDEO, core=CORE_VERSION, clips=clips, audio=audio.sha256)


@task(**BY_CONTENT, **RETRY_IO)
def encode_chunk(key: str, talk: Talk, chunk: ChunkRef, crops: Artefact | None) -> Artefact:
    """
    Put the crops of one chunk into their pictures and encode these; the crops are dropped afterwards.

    Args:
        key:   `clip_key` of the rest.
        crops: what `render_chunk` made; None when the encoded chunk is known to exist.
    """
    with phase("encode", talk.features.frames):

        def make(folder: Path) -> None:
            if crops is None:
                raise EncodeError(f"chunk {chunk.number} vanished from the cache while it was used")
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
    """The masks of an avatar, shared by all its chunks; see `tasks.inference` for the inode."""
    del avatar, inode, spec
    return MaskCache()


def sound_key(audio: SourceFile) -> str:
    """Name an encoded sound track by its source."""
    return content_key(kind=SOUND, core=CORE_VERSION, audio=audio.sha256)


@task(**BY_CONTENT, **RETRY_IO)
def encode_sound(key: str, audio: SourceFile) -> Artefact:
    """
    Encode the sound, beside everything that is done for the picture; one serves any number of videos.

    Args:
        key: `sound_key` of the rest.
    """
    with phase("encode", beside=True):

        def make(folder: Path) -> None:
            write_sound(source_path(audio), folder / SOUND_FILE, ffmpeg=get_settings().media.ffmpeg)

        return artefacts().made_once(SOUND, key, make)


@task(**BY_CONTENT, **RETRY_IO)
def join(key: str, talk: Talk, clips: list[Artefact], sound: Artefact) -> Artefact:
    """
    Join the chunks without encoding them again and add the sound.

    Args:
        key:   `video_key` of the rest.
        clips: in order; may be empty when the video is known to exist.
        sound: what `encode_sound` made.
    """
    with phase("join"):

        def make(folder: Path) -> None:
            files = [artefacts().file(clip, CLIP_FILE) for clip in clips]
            track = artefacts().file(sound, SOUND_FILE)
            join_files(files, track, folder / VIDEO_FILE, rate=Fraction(talk.rate))

        return artefacts().made_once(VIDEO, key, make)
