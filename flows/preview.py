"""The `preview` artifact of a video job: a page with frames, a lip-sync check, timings and links."""

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
"""Key of the preview artifact."""
_CLEAR, _WEAK = 0.4, 0.2
"""
Minimum correlation above that with reversed phonemes, for the grades "clearly" and "weakly".

See `musetalk_core.sync`.
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """
    A finished video and the data for its preview page.

    Attributes:
        video:   artifact that holds the video.
        result:  result of the job.
        face:    face whose lips were moved.
        phones:  returns the phonemes of the speech, as far as they are known.
        seconds: returns the seconds per phase.
    """

    video: Artefact
    result: VideoResult
    face: FaceChoice
    phones: Callable[[], Sequence[Phone]]
    seconds: Callable[[], Mapping[str, float]]


def show_video(shown: Shown) -> None:
    """
    Write the preview page of a finished video: eight frames, a lip-sync check, timings and links.

    An error is logged and does not fail the job. The time for the lip-sync check is limited to some seconds.
    """
    if not get_settings().render.preview:
        return
    try:
        result = shown.result
        seen = preview(shown.video, shown.phones(), Fraction(result.fps), shown.face)
        page = write(result, seen.jpeg, seen.followed, shown.seconds(), UUID(str(flow_run.id)))
        create_markdown_artifact(markdown=page, key=KEY, description=summary(result))
    except Exception as error:
        _log.warning("the preview page was not written: %s", error)


def summary(result: VideoResult) -> str:
    """Return a one-line description of the video."""
    frames = f"{result.width} x {result.height} at {result.fps} frames/s"
    return f"`{result.name}`, {result.duration_s:.2f} s, {frames}, engine {result.engine}"


def write(
    result: VideoResult, picture: bytes, followed: Followed | None, seconds: Mapping[str, float], run: UUID
) -> str:
    """
    Return the preview page as Markdown.

    Args:
        result:   result of the job.
        picture:  contact sheet as JPEG.
        followed: measured lip-sync; None if it is unknown.
        seconds:  seconds per phase.
        run:      job id.
    """
    faces = result.faces
    parts = [
        _image("frames of the video", "jpeg", picture),
        _lips(followed),
        f"The face was detected in {faces.with_face:,} of {faces.frames:,} source frames.",
        *(f"**Warning:** {text}" for text in result.warnings),
        "### Timings",
        _image("seconds per phase", "svg+xml", chart(seconds).encode()),
        f"Steps from the cache: {', '.join(dict.fromkeys(result.cached)) or 'none'}.",
        "### Links",
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
        f" (the first {found.seconds:.1f} s of speech; compares the lips with the requested mouth movement;"
        " not comparable with published lip-sync scores)."
    )


def _links(result: VideoResult, run: UUID) -> list[str]:
    public = get_settings().api.public_url
    own = job_uri(run, result.name)
    lines = [f"* as an input of another job: `{own}`", f"* on the command line: `musetalk result {run}`"]
    if (place := public_uri(result.video.uri, run, result.name)) != own:
        lines.append(f"* in the bucket: `{place}`")
    if public:
        job = f"{public}/v1/jobs/{run}"
        lines.append(f"* [the video]({job}/result), [the job]({job}), [provenance]({job}/lineage)")
    return ["\n".join(lines)]
