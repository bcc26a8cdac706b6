"""
Compatibility: body of POST /inference of the older MuseTalk service, and its lip_sync job.

The body names models by path. A known path selects a MuseTalk version; no path is opened.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from api.errors import Problem
from flows.schemas.base import Output
from flows.schemas.musetalk import MaskMode, MuseTalkOptions, Version
from flows.schemas.video import LipSyncJob
from tasks.file_names import output_name, validate_name
from tasks.run.tenancy import current_tenant
from tasks.settings import get_settings

Label = Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
_IGNORED_FIELDS = ("ffmpeg_path", "result_dir", "skip_save_images")
"""Fields that are accepted with a warning; so is `batch_size`, because the server measures the best one."""
KNOWN_MODELS: Mapping[str, Mapping[str, Version | None]] = {
    "vae_type": {"sd-vae": None, "sd-vae-ft-mse": None},
    "unet_config": {
        "./models/musetalk/musetalk.json": None,  # the documented default; the field `version` applies
        "./models/musetalkV15/musetalk.json": "v15",
        "musetalk-v1": "v1",
        "musetalk-v15": "v15",
    },
    "unet_model_path": {
        "./models/musetalk/pytorch_model.bin": None,
        "./models/musetalkV15/unet.pth": "v15",
        "musetalk-v1": "v1",
        "musetalk-v15": "v15",
    },
    "whisper_dir": {"./models/whisper": None, "whisper-tiny": None},
}
"""Accepted model paths per field and the MuseTalk version that each selects. The paths are not opened."""


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

    version: Version = "v15"
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
    parsing_mode: MaskMode = "jaw"
    left_cheek_width: int = Field(default=90, ge=20, le=160)
    right_cheek_width: int = Field(default=90, ge=20, le=160)
    skip_save_images: bool = Field(default=False, description="Ignored; frames are streamed.")
    s3_bucket: str | None = Field(
        default=None,
        description="Bucket for the result; default: MUSETALK_COMPAT__OUTPUT_BUCKET.",
        examples=["media"],
    )
    s3_prefix: str | None = Field(
        default=None,
        description="Folder for the result; default: MUSETALK_COMPAT__OUTPUT_PREFIX. Requires a bucket.",
        examples=["lip_sync/outputs"],
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
        # this route renders with MuseTalk; the settings may choose another engine for the whole installation
        engine="musetalk" if get_settings().render.engine == "auto" else "auto",
        fallback=True,
        version=version,
        musetalk=options,
        preparation=avatar.preparation,
        refresh=body.refresh,
        output=Output(
            bucket=body.s3_bucket or get_settings().compat.output_bucket or None,
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
    prefix = (_default_prefix() if requested_prefix is None else requested_prefix).strip("/")
    parts = prefix.split("/") if prefix else []
    if any(part in {"", ".", ".."} for part in parts) or re.search(r"[\x00-\x1f\x7f\\]", prefix):
        raise Problem(
            "invalid_input", "s3_prefix cannot have empty, '.' or '..' parts or control characters."
        )
    return prefix


def _default_prefix() -> str:
    """Return the prefix of the settings; without a tenant, without the folders that name one."""
    prefix, tenant = get_settings().compat.output_prefix, current_tenant()
    if tenant is not None:
        return prefix.replace("{tenant}", tenant)
    return "/".join(part for part in prefix.split("/") if "{tenant}" not in part)


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
    if body.s3_prefix and not (body.s3_bucket or get_settings().compat.output_bucket):
        ignored.append("s3_prefix")
    return [
        *(f"ignored_field: {name}" for name in (*ignored, *unused_fields)),
        *(f"unknown_field: {name[:64]}" for name in unknown),
    ]


class MuseTalkBody(Protocol):
    """The fields of a body that are used here, besides model paths."""

    @property
    def model_fields_set(self) -> set[str]:
        """Names of the fields that were sent."""
        ...

    version: Version
    bbox_shift: int
    extra_margin: int
    audio_padding_length_left: int
    audio_padding_length_right: int
    parsing_mode: MaskMode
    left_cheek_width: int
    right_cheek_width: int


def resolve_version(body: MuseTalkBody) -> Version:
    """
    Return the MuseTalk version of a body; a model path takes precedence over `version`.

    Raises:
        Problem: an unknown model path, or two paths of different versions.
    """
    requested: set[Version] = set()
    for field, versions in KNOWN_MODELS.items():
        value: str = getattr(body, field)
        if value not in versions:
            names = ", ".join(versions)
            raise Problem("unknown_model", f"{field} {value[:80]!r} is not a known model. Known: {names}.")
        path_version = versions[value]
        if path_version is not None:
            requested.add(path_version)
    if len(requested) > 1:
        raise Problem("invalid_input", "unet_config and unet_model_path name different versions of MuseTalk")
    return requested.pop() if requested else body.version


def to_options(
    body: MuseTalkBody, version: Version, avatar_shift: int | None
) -> tuple[MuseTalkOptions, list[str]]:
    """
    Return a body's MuseTalk options, and the fields that were sent but belong to the other version.

    Args:
        body:         the request's body.
        version:      result of `resolve_version`.
        avatar_shift: the avatar's own `bbox_shift`, which overrides the body's.
    """
    shift = body.bbox_shift if avatar_shift is None else avatar_shift
    left, right = body.audio_padding_length_left, body.audio_padding_length_right
    if version == "v1":
        v15_fields = {"extra_margin", "parsing_mode", "left_cheek_width", "right_cheek_width"}
        options = MuseTalkOptions(bbox_shift=shift, audio_padding_left=left, audio_padding_right=right)
        return options, sorted(v15_fields & body.model_fields_set)
    options = MuseTalkOptions(
        extra_margin=body.extra_margin,
        mask_mode=body.parsing_mode,
        left_cheek_width=body.left_cheek_width,
        right_cheek_width=body.right_cheek_width,
        audio_padding_left=left,
        audio_padding_right=right,
    )
    return options, ["bbox_shift"] if shift else []
