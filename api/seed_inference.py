"""Compatibility: body of POST /inference of the older MuseTalk service, and its lip_sync job."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from api.problems import Problem
from api.seed_musetalk import resolve_version, to_options
from flows.schemas import LipSyncJob, Output
from tasks.file_names import output_name, validate_name
from tasks.settings import get_settings

Label = Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]

_IGNORED_FIELDS = ("ffmpeg_path", "result_dir", "skip_save_images")
"""Fields that are accepted with a warning; so is `batch_size`, because the server measures the best one."""


class SeedAvatar(BaseModel):
    """An avatar (face video) and its audio clips."""

    model_config = ConfigDict(extra="allow")

    preparation: bool = Field(
        default=True,
        description="Prepare the avatar if it is not prepared; false: fail if it is not prepared.",
    )
    video_path: str = Field(
        description="s3://, https://, asset:// or job://.", examples=["s3://media/inputs/anna.mp4"]
    )
    bbox_shift: int | None = Field(default=None, description="Overrides the top-level `bbox_shift`.")
    audio_clips: dict[Label, str] = Field(
        description="Audio clips by label.", examples=[{"audio_1": "s3://media/inputs/hello.wav"}]
    )


class SeedInference(BaseModel):
    """The body of POST /inference. Unknown fields are ignored with a warning."""

    model_config = ConfigDict(extra="allow")

    version: Literal["v1", "v15"] = "v15"
    ffmpeg_path: str = Field(
        default="./ffmpeg/ffmpeg-master-latest-linux64-gpl/bin/",
        description="Ignored; the server's own ffmpeg is used.",
    )
    gpu_id: int = Field(default=0, ge=0, le=255, description="Preferred GPU; a free GPU takes precedence.")
    vae_type: str = "sd-vae"
    unet_config: str = "./models/musetalk/musetalk.json"
    unet_model_path: str = "./models/musetalk/pytorch_model.bin"
    whisper_dir: str = "./models/whisper"
    bbox_shift: int = 0
    result_dir: str = Field(default="./results", description="Ignored; results are written to the store.")
    extra_margin: int = Field(default=10, ge=0, le=40)
    fps: int = Field(default=25, ge=10, le=60)
    audio_padding_length_left: int = Field(default=2, ge=0, le=10)
    audio_padding_length_right: int = Field(default=2, ge=0, le=10)
    batch_size: int = Field(default=30, ge=1, le=64)
    output_vid_name: str | None = Field(
        default=None, description="Name of the result; default: video and audio name joined by `_`."
    )
    use_saved_coord: bool = Field(default=False, description="Always on: the cache keeps coordinates.")
    saved_coord: bool = Field(default=False, description="Always on: the cache keeps coordinates.")
    parsing_mode: Literal["jaw", "raw", "neck"] = "jaw"
    left_cheek_width: int = Field(default=90, ge=20, le=160)
    right_cheek_width: int = Field(default=90, ge=20, le=160)
    skip_save_images: bool = Field(default=False, description="Ignored; frames are streamed.")
    s3_bucket: str | None = Field(default=None, description="Bucket for the result.", examples=["media"])
    s3_prefix: str | None = Field(
        default=None, description="Folder for the result.", examples=["lip_sync/outputs"]
    )
    refresh: bool = Field(default=False, description="Prepare the avatar again.")
    avatars: dict[Label, SeedAvatar] = Field(description="Avatars by label.")


def to_job(body: SeedInference, avatar_id: str, audio_id: str) -> tuple[LipSyncJob, list[str]]:
    """
    Convert a body and the two labels of the query to lip_sync job parameters.

    Args:
        body:      the request's body.
        avatar_id: label of the avatar.
        audio_id:  label of the avatar's audio clip.

    Returns:
        The parameters, and a warning for each field that was sent and has no effect.

    Raises:
        Problem: an unknown label, an unknown model, or an invalid name or prefix.
        ValidationError: an invalid media reference.
    """
    avatar = body.avatars.get(avatar_id)
    if avatar is None:
        raise Problem("invalid_input", f"Avatar {avatar_id} not found in configuration")
    audio = avatar.audio_clips.get(audio_id)
    if audio is None:
        raise Problem("invalid_input", f"Audio {audio_id} not found in avatar {avatar_id} configuration")
    version = resolve_version(body)
    options, unused_fields = to_options(body, version, avatar.bbox_shift)
    job = LipSyncJob(
        video=avatar.video_path,
        audio=audio,
        fps=str(body.fps),
        version=version,
        musetalk=options,
        preparation=avatar.preparation,
        refresh=body.refresh,
        output=Output(
            bucket=body.s3_bucket,
            prefix=_output_prefix(body.s3_prefix),
            name=_output_name(avatar.video_path, audio, body.output_vid_name),
            overwrite=get_settings().compat.inference_overwrites,
        ),
    )
    return job, _warnings(body, avatar, unused_fields)


def body_location(location: Sequence[int | str], avatar_id: str, audio_id: str) -> tuple[int | str, ...]:
    """
    Map the location of an error in the job parameters to the field of the body that caused it.

    Args:
        location:  `loc` of a pydantic error in the job parameters.
        avatar_id: label of the avatar.
        audio_id:  label of the audio clip.
    """
    body_locations: Mapping[int | str, tuple[int | str, ...]] = {
        "video": ("avatars", avatar_id, "video_path"),
        "audio": ("avatars", avatar_id, "audio_clips", audio_id),
        "bucket": ("s3_bucket",),
        "prefix": ("s3_prefix",),
        "name": ("output_vid_name",),
    }
    return body_locations.get(location[-1], tuple(location))


def _output_prefix(requested_prefix: str | None) -> str:
    prefix = (requested_prefix or "").strip("/")
    parts = prefix.split("/") if prefix else []
    if any(part in {"", ".", ".."} for part in parts) or re.search(r"[\x00-\x1f\x7f\\]", prefix):
        raise Problem(
            "invalid_input", "s3_prefix cannot have empty, '.' or '..' parts or control characters."
        )
    return prefix


def _output_name(video: str, audio: str, requested_name: str | None) -> str | None:
    """Return the name of the result; None if it is unknown until uploads or other jobs are read."""
    try:
        if requested_name is not None:
            return output_name("", "", validate_name(requested_name)).removesuffix(".mp4")
        if all(uri.lower().startswith(("s3://", "https://", "http://")) for uri in (video, audio)):
            return output_name(_name_source(video), _name_source(audio)).removesuffix(".mp4")
    except ValueError as error:
        field = "output_vid_name" if requested_name is not None else "the names of video and audio"
        raise Problem("invalid_input", f"{field}: {error}") from error
    return None


def _name_source(uri: str) -> str:
    # a URL's path ends at its query; an S3 key may contain any character
    return unquote(urlsplit(uri).path) if uri.lower().startswith("http") else uri


def _warnings(body: SeedInference, avatar: SeedAvatar, unused_fields: list[str]) -> list[str]:
    sent_fields = body.model_fields_set
    ignored = [name for name in _IGNORED_FIELDS if name in sent_fields]
    if body.batch_size != SeedInference.model_fields["batch_size"].default:
        ignored.append("batch_size")
    unknown: Mapping[str, Any] = {**(body.model_extra or {}), **(avatar.model_extra or {})}
    return [
        *(f"ignored_field: {name}" for name in (*ignored, *unused_fields)),
        *(f"unknown_field: {name[:64]}" for name in unknown),
    ]
