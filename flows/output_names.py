"""Output file names, from `output.name` or the names of the inputs. Light imports."""

from collections.abc import Callable
from typing import Final, get_args

from flows.job import Job, Output
from flows.schemas import AnalyzeJob, CaptionJob, LipSyncJob, PortraitJob, SpeechJob, TranscribeJob
from flows.speech_schemas import SoundFormat
from tasks.file_names import fit_name, key_prefix_and_room, output_name, safe_stem, with_suffix

TRANSCRIPT_FORMATS: Final = ("txt", "json", "srt", "vtt", "tsv")
SPOKEN_FILE: Final = "speech.wav"
"""File name of the speech that a portrait job synthesizes."""
_SOUND_FORMATS: Final[tuple[SoundFormat, ...]] = get_args(SoundFormat)

NameOf = Callable[[str], str | None]
"""Returns the file name of a media reference; None if it is not known before the job runs."""


def captioned_name(output: Output, video: str) -> str:
    """Return the file name of a captioned video, derived from its source name if the job sets none."""
    name = output.name or safe_stem(video)
    return fit_name(name[:-4] if name.lower().endswith(".mp4") else name, ".mp4")


def analysis_name(output: Output, picture: str) -> str:
    """Return the file name of the annotated JPEG, derived from the source name if the job sets none."""
    if output.name:
        return fit_name(output.name.removesuffix(".jpg"), ".jpg")
    return fit_name(safe_stem(picture), "_analysed.jpg")


def transcript_stem(output: Output, audio: str) -> str:
    """Return the common name of the transcript files without extension."""
    name = output.name or safe_stem(audio)
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending in TRANSCRIPT_FORMATS else name


def sound_name(given: str | None, kind: SoundFormat | None) -> tuple[str, SoundFormat]:
    """Return the name and format of a speech file; an unknown extension stays part of the name."""
    stem, _, ending = (given or "speech").rpartition(".")
    known: SoundFormat | None = next((one for one in _SOUND_FORMATS if stem and one == ending.lower()), None)
    chosen: SoundFormat = kind or known or "mp3"
    return fit_name(stem if known else given or "speech", f".{chosen}"), chosen


def expected_object(job: Job, name_of: NameOf) -> str | None:
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
    folder, room = key_prefix_and_room(output.prefix)
    return f"s3://{output.bucket}/{folder}{with_suffix([name], '', room)[0]}"


def _expected_name(job: Job, output: Output, name_of: NameOf) -> str | None:
    match job:
        case LipSyncJob():
            return _of_two(output, name_of(job.video), name_of(job.audio))
        case PortraitJob():
            return _of_two(output, name_of(job.image), name_of(job.audio) if job.audio else SPOKEN_FILE)
        case SpeechJob():
            return sound_name(output.name, job.format)[0]
        case CaptionJob():
            return _of_one(captioned_name, output, name_of(job.video))
        case AnalyzeJob():
            return _of_one(analysis_name, output, name_of(job.image))
        case TranscribeJob():
            stem = _of_one(transcript_stem, output, name_of(job.audio))
            return f"{stem}.txt" if stem else None
        case _:
            return None


def _of_one(name: Callable[[Output, str], str], output: Output, source: str | None) -> str | None:
    return name(output, source or "") if output.name or source else None


def _of_two(output: Output, picture: str | None, sound: str | None) -> str | None:
    if output.name or (picture and sound):
        return output_name(picture or "", sound or "", output.name)
    return None
