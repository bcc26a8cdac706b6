"""Search of a file for the imperceptible mark of this system. Reads only the file; creates no key."""

from pathlib import Path

from tasks.catalog.mark_finding import MarkEvidence, MarkFinding
from tasks.settings import get_settings


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
