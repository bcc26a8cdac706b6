"""What people see of a finished video in Prefect's pages: one artifact, `preview`, that reads like a page."""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from flows.output_uris import public_uri
from flows.preview_chart import chart
from flows.schemas import FaceChoice, VideoResult
from musetalk_core.speech.phones import Phone
from tasks.preview import Followed, preview
from tasks.refs import Artefact, job_uri
from tasks.settings import get_settings

KEY: Final = "preview"
_CLEAR, _WEAK = 0.4, 0.2
"""Margins over wrong sounds; see `musetalk_core.sync`."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """
    A finished video to show.

    Attributes:
        video:   the artefact that holds it.
        result:  what the job answers.
        face:    whose lips.
        phones:  gives those of its speech, as far as they are known.
        seconds: gives those of each phase.
    """

    video: Artefact
    result: VideoResult
    face: FaceChoice
    phones: Callable[[], Sequence[Phone]]
    seconds: Callable[[], Mapping[str, float]]


def show_video(shown: Shown) -> None:
    """
    Show a finished video: eight of its pictures, how well the lips follow, times and links.

    A page that cannot be written is no reason to fail a job, and looking ends after some seconds.
    """
    if not get_settings().render.preview:
        return
    try:
        result = shown.result
        seen = preview(shown.video, shown.phones(), Fraction(result.fps), shown.face)
        page = write(result, seen.jpeg, seen.followed, shown.seconds(), UUID(str(flow_run.id)))
        create_markdown_artifact(markdown=page, key=KEY, description=summary(result))
    except Exception as error:
        _log.warning("the video was not shown: %s", error)


def summary(result: VideoResult) -> str:
    """Say in a line what was made."""
    frames = f"{result.width} x {result.height} at {result.fps} frames/s"
    return f"`{result.name}`, {result.duration_s:.2f} s, {frames}, engine {result.engine}"


def write(
    result: VideoResult, picture: bytes, followed: Followed | None, seconds: Mapping[str, float], run: UUID
) -> str:
    """
    Write the page in Markdown.

    Args:
        result:   what the job answers.
        picture:  JPEG.
        followed: how well the lips follow; None when that is not known.
        seconds:  per phase.
        run:      the job.
    """
    faces = result.faces
    parts = [
        _image("pictures from the video", "jpeg", picture),
        _lips(followed),
        f"The face was found in {faces.with_face:,} of {faces.frames:,} source frames.",
        *(f"**Warning:** {text}" for text in result.warnings),
        "### Seconds",
        _image("seconds per phase", "svg+xml", chart(seconds).encode()),
        f"From the cache: {', '.join(dict.fromkeys(result.cached)) or 'nothing'}.",
        "### Where it is",
        *_links(result, run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _image(alt: str, kind: str, content: bytes) -> str:
    return f"![{alt}](data:image/{kind};base64,{base64.b64encode(content).decode()})"


def _lips(found: Followed | None) -> str:
    if found is None:
        return ""
    margin = found.correlation - found.backwards
    sure = "clearly" if margin > _CLEAR else "weakly" if margin > _WEAK else "no better than by chance"
    late = f"{abs(found.lag_frames)} frames {'late' if found.lag_frames > 0 else 'early'}"
    return (
        f"The lips follow the sounds {sure}: correlation **{found.correlation:.2f}**"
        f" {late if found.lag_frames else 'in time'}, {found.backwards:.2f} with the sounds played backwards"
        f" (the first {found.seconds:.1f} s spoken; a check against what the mouth was asked to do, no score"
        " to compare with those of others)."
    )


def _links(result: VideoResult, run: UUID) -> list[str]:
    public = get_settings().api.public_url
    own = job_uri(run, result.name)
    lines = [f"* as an input of another job: `{own}`", f"* on a terminal: `musetalk result {run}`"]
    if (place := public_uri(result.video.uri, run, result.name)) != own:
        lines.append(f"* in the bucket: `{place}`")
    if public:
        job = f"{public}/v1/jobs/{run}"
        lines.append(f"* [the video]({job}/result), [the job]({job}), [where it came from]({job}/lineage)")
    return ["\n".join(lines)]
