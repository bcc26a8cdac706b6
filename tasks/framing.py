"""A still picture as a job wants it shown."""

from pathlib import Path

from prefect import task

from musetalk_core import CORE_VERSION, framing
from musetalk_core.faces.following import FaceChoice
from tasks.artefacts import artefacts, content_key
from tasks.limits import limits
from tasks.policies import BY_CONTENT, RETRY_COMPUTE
from tasks.refs import Artefact, SourceFile
from tasks.reports import phase
from tasks.sources import source_path

FRAMED, PNG = "framed", "picture.png"


def framed_key(source: SourceFile, frame: framing.Frame, face: FaceChoice) -> str:
    """Name a framed picture by everything that decides its pixels."""
    return content_key(
        kind=FRAMED,
        core=CORE_VERSION,
        source=source.sha256,
        crop=frame.crop,
        width=frame.max_width,
        height=frame.max_height,
        face=None if frame.crop == "none" else face,
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def frame_picture(key: str, source: SourceFile, frame: framing.Frame, face: FaceChoice) -> Artefact:
    """
    Cut a still picture around a face and make it smaller; the artefact holds `picture.png`.

    Args:
        key: `framed_key` of the rest.

    Raises:
        NoFaceFound: it shall be cut around a face and shows none.
        MediaUnreadable, MediaTooLarge: it is no still picture, damaged or too large.
    """
    with phase("fetch"):

        def make(folder: Path) -> None:
            framing.framed(source_path(source), folder / PNG, frame, face, limits())

        return artefacts().made_once(FRAMED, key, make)
