"""Prefect task that crops and scales a still picture around a face, for portraits."""

from pathlib import Path

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.faces.tracker_protocol import FaceChoice
from musetalk_core.rendering import portrait_crop
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.refs import Artefact, SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced

FRAMED_KIND, FRAMED_FILE = "framed", "picture.png"


def framed_key(source: SourceFile, frame: portrait_crop.CropOptions, face: FaceChoice) -> str:
    """Return the cache key of a cropped picture: the source, the crop, the size and the choice of face."""
    return content_key(
        kind=FRAMED_KIND,
        core=CORE_VERSION,
        source=source.sha256,
        crop=frame.crop,
        width=frame.max_width,
        height=frame.max_height,
        face=None if frame.crop == "none" else face,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def frame_picture(
    key: str, source: SourceFile, frame: portrait_crop.CropOptions, face: FaceChoice
) -> Artefact:
    """
    Crop a still picture around a face, scale it down, and store it as `picture.png` in the cache entry.

    Args:
        key:    `framed_key` of the other arguments.
        source: the fetched picture.
        frame:  the crop and the maximum width and height in pixels.
        face:   which face to use if there are several.

    Raises:
        NoFaceFound: the crop needs a face, and the picture shows none.
        MediaUnreadable, MediaTooLarge: the file is not a still picture, or is damaged or too large.
    """
    with phase("fetch"):

        def make(folder: Path) -> None:
            portrait_crop.write_cropped_still(
                source_path(source), folder / FRAMED_FILE, frame, face, media_limits()
            )

        return artefact_cache().get_or_create(FRAMED_KIND, key, make)
