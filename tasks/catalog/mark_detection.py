"""Search of a file for the imperceptible mark of this system. Reads only the file; creates no key."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tasks.settings import get_settings


class MarkEvidence(BaseModel):
    """Evidence for a mark in the picture or the sound of a file."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    found: bool = Field(description="Whether the mark is present.")
    score: float = Field(
        description="Correlation with the pattern, in standard deviations of unmarked media."
    )
    false_alarm_bound: float = Field(
        description="Upper bound of the probability that media without the mark gives this result."
    )


class MarkFinding(BaseModel):
    """Imperceptible marks of this system in a file."""

    model_config = ConfigDict(frozen=True)

    found: bool = Field(description="Whether picture or sound carry the mark: the file was made here.")
    key: str | None = Field(description="Id of the key of the mark; null if none was found.")
    picture: MarkEvidence | None = Field(description="Null if the file has no picture.")
    sound: MarkEvidence | None = Field(description="Null if the file has no sound.")


def find_mark(path: Path) -> MarkFinding | None:
    """
    Search a video, an image or a sound file for marks of the keys of this system.

    Args:
        path: a media file; the first 60 s of a video and all of the sound are searched.

    Returns:
        The finding; None if this system has no key yet, or the file is not media.

    Raises:
        MediaUnreadable: the media file is damaged.
        MediaTooLarge: the file exceeds a limit.
    """
    settings = get_settings()
    if not settings.mark.secrets and not settings.mark_key_file.exists():
        return None
    from musetalk_core.errors import MediaUnreadable
    from musetalk_core.imperceptible_mark.file_detection import detect_mark
    from musetalk_core.media.source.sniff import sniff
    from tasks.catalog.mark_keys import mark_keys
    from tasks.run.media_limits import media_limits

    try:
        sniff(path)
    except MediaUnreadable:
        return None
    report = detect_mark(path, mark_keys(), media_limits())
    return MarkFinding(
        found=report.found,
        key=report.key_id,
        picture=report.picture and MarkEvidence.model_validate(report.picture),
        sound=report.sound and MarkEvidence.model_validate(report.sound),
    )
