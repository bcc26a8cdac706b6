"""Output file names, from `output.name` or the names of the inputs. Light imports."""

from collections.abc import Callable
from typing import Final, get_args

from flows.schemas.analyze import AnalyzeJob
from flows.schemas.base import JobParameters, Output
from flows.schemas.caption import CaptionJob
from flows.schemas.speech import AudioFormat, SpeechJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob
from tasks.file_names import fit_name, key_prefix_and_name_limit, output_name, safe_stem, with_suffix

TRANSCRIPT_FORMATS: Final = ("txt", "json", "srt", "vtt", "tsv")
SPEECH_FILE_NAME: Final = "speech.wav"
"""File name of the speech that a portrait job synthesizes."""
_AUDIO_FORMATS: Final[tuple[AudioFormat, ...]] = get_args(AudioFormat)

NameLookup = Callable[[str], str | None]
"""Returns the file name of a media reference; None if it is not known before the job runs."""


def captioned_name(output: Output, video: str) -> str:
    """Return the file name of a captioned video, derived from its source name if the job sets none."""
    name = output.name or safe_stem(video)
    return fit_name(name[:-4] if name.lower().endswith(".mp4") else name, ".mp4")


def annotated_image_name(output: Output, picture: str) -> str:
    """Return the file name of the annotated JPEG, derived from the source name if the job sets none."""
    if output.name:
        return fit_name(output.name.removesuffix(".jpg"), ".jpg")
    return fit_name(safe_stem(picture), "_analysed.jpg")


def transcript_stem(output: Output, audio: str) -> str:
    """Return the common name of the transcript files without extension."""
    name = output.name or safe_stem(audio)
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending in TRANSCRIPT_FORMATS else name


def speech_file_name(requested_name: str | None, audio_format: AudioFormat | None) -> tuple[str, AudioFormat]:
    """Return the name and format of a speech file; an unknown extension stays part of the name."""
    stem, _, ending = (requested_name or "speech").rpartition(".")
    format_from_name: AudioFormat | None = next(
        (one for one in _AUDIO_FORMATS if stem and one == ending.lower()), None
    )
    chosen: AudioFormat = audio_format or format_from_name or "mp3"
    return fit_name(stem if format_from_name else requested_name or "speech", f".{chosen}"), chosen


def expected_object(job: JobParameters, name_of: NameLookup) -> str | None:
    """
    Return the object URI of a job's main output file, assuming that the name is free.

    Args:
        job:     of any type.
        name_of: returns the file name of a media reference.

    Returns:
        `s3://bucket/key`. None if the output stays in the system's own store, where every job has its own
        folder, or if the names of the inputs are not known yet.
    """
    output: Output | None = getattr(job, "output", None)
    if output is None or not output.bucket:
        return None
    name = _expected_name(job, output, name_of)
    if name is None:
        return None
    folder, room = key_prefix_and_name_limit(output.prefix)
    return f"s3://{output.bucket}/{folder}{with_suffix([name], '', room)[0]}"


def _expected_name(job: JobParameters, output: Output, name_of: NameLookup) -> str | None:
    match job:
        case LipSyncJob():
            return _name_from_sources(output, name_of(job.video), name_of(job.audio))
        case PortraitJob():
            return _name_from_sources(
                output, name_of(job.image), name_of(job.audio) if job.audio else SPEECH_FILE_NAME
            )
        case SpeechJob():
            return speech_file_name(output.name, job.format)[0]
        case CaptionJob():
            return _name_from_source(captioned_name, output, name_of(job.video))
        case AnalyzeJob():
            return _name_from_source(annotated_image_name, output, name_of(job.image))
        case TranscribeJob():
            stem = _name_from_source(transcript_stem, output, name_of(job.audio))
            return f"{stem}.txt" if stem else None
        case _:
            return None


def _name_from_source(
    build_name: Callable[[Output, str], str], output: Output, source: str | None
) -> str | None:
    return build_name(output, source or "") if output.name or source else None


def _name_from_sources(output: Output, picture: str | None, audio: str | None) -> str | None:
    if output.name or (picture and audio):
        return output_name(picture or "", audio or "", output.name)
    return None
