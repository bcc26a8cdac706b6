"""
The `preview` artifact of a video job: a Markdown page with frames, a lip-sync check, timings and links.

The timings are a bar chart, drawn as SVG.
"""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from uuid import UUID
from xml.sax.saxutils import escape

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from flows.schemas.video import FaceChoice, VideoResult
from flows.storage.output_uris import public_uri
from musetalk_core.installation import command
from musetalk_core.speech.phones import Phone
from tasks.refs import Artefact, job_uri
from tasks.settings import get_settings
from tasks.steps.preview import LipSyncScore, create_preview

PREVIEW_KEY: Final = "preview"
"""Key of the preview artifact."""
_CLEAR_MARGIN, _WEAK_MARGIN = 0.4, 0.2
"""
Minimum correlation above that with reversed phonemes, for the grades "clearly" and "weakly".

See `musetalk_core.quality.lip_sync_score`.
"""
_WIDTH, _ROW_HEIGHT, _LEFT_MARGIN, _RIGHT_MARGIN = 640, 26, 90, 80
_BAR_COLOR, _TEXT_COLOR = "#4c8dff", "#8a8f98"
_FONT: Final = 'font-family="sans-serif" font-size="13"'
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreviewData:
    """
    A finished video and the data for its preview page.

    Attributes:
        video:   cache entry of the video.
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


def write_preview(data: PreviewData) -> None:
    """
    Write the preview page of a finished video: eight frames, a lip-sync check, timings and links.

    An error is logged and does not fail the job. The time for the lip-sync check is limited to some seconds.
    """
    if not get_settings().render.preview:
        return
    try:
        result = data.result
        measured = create_preview(data.video, data.phones(), Fraction(result.fps), data.face)
        page = to_markdown(result, measured.jpeg, measured.followed, data.seconds(), UUID(str(flow_run.id)))
        create_markdown_artifact(markdown=page, key=PREVIEW_KEY, description=summary(result))
    except Exception as error:
        _log.warning("the preview page was not written: %s", error)


def summary(result: VideoResult) -> str:
    """Return a one-line description of the video."""
    frames = f"{result.width} x {result.height} at {result.fps} frames/s"
    return f"`{result.name}`, {result.duration_s:.2f} s, {frames}, engine {result.engine}"


def to_markdown(
    result: VideoResult,
    picture: bytes,
    followed: LipSyncScore | None,
    seconds: Mapping[str, float],
    run: UUID,
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
    sections = [
        _image("frames of the video", "jpeg", picture),
        _lip_sync_sentence(followed),
        _signature_sentence(result),
        f"The face was detected in {faces.with_face:,} of {faces.frames:,} source frames.",
        *(f"**Warning:** {text}" for text in result.warnings),
        "### Timings",
        _image("seconds per phase", "svg+xml", bar_chart(seconds).encode()),
        f"Steps from the cache: {', '.join(dict.fromkeys(result.cached)) or 'none'}.",
        "### Links",
        *_link_section(result, run),
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


def _image(alt: str, kind: str, content: bytes) -> str:
    return f"![{alt}](data:image/{kind};base64,{base64.b64encode(content).decode()})"


def _lip_sync_sentence(followed: LipSyncScore | None) -> str:
    if followed is None:
        return ""
    margin = (followed.correlation - followed.backwards) * followed.movement
    grade = (
        "clearly"
        if margin > _CLEAR_MARGIN
        else "weakly"
        if margin > _WEAK_MARGIN
        else "no better than by chance"
    )
    timing = f"{abs(followed.lag_frames)} frames {'late' if followed.lag_frames > 0 else 'early'}"
    return (
        f"The lips follow the sounds {grade}: correlation **{followed.correlation:.2f}**"
        f" {timing if followed.lag_frames else 'in time'},"
        f" {followed.backwards:.2f} with the sounds played backwards,"
        f" {followed.movement:.0%} of the movement of speech"
        f" (the first {followed.seconds:.1f} s of speech;"
        " compares the lips with the requested mouth movement;"
        " not comparable with published lip-sync scores)."
    )


def _signature_sentence(result: VideoResult) -> str:
    credentials = result.provenance
    if credentials.manifest is None:
        return "The video is not signed."
    return f"Content Credentials: {credentials.manifest} manifest, signed by `{credentials.signer}`."


def _link_section(result: VideoResult, run: UUID) -> list[str]:
    public_url = get_settings().api.public_url
    job_reference = job_uri(run, result.name)
    lines = [
        f"* as an input of another job: `{job_reference}`",
        f"* on the command line: `{command(f'result {run}')}`",
    ]
    if (place := public_uri(result.video.uri, run, result.name)) != job_reference:
        lines.append(f"* in the bucket: `{place}`")
    if public_url:
        job = f"{public_url}/v1/jobs/{run}"
        lines.append(f"* [the video]({job}/result), [the job]({job}), [provenance]({job}/lineage)")
    return ["\n".join(lines)]


def bar_chart(seconds: Mapping[str, float]) -> str:
    """
    Return a bar chart of durations as SVG.

    Args:
        seconds: duration in seconds by name, in drawing order.
    """
    longest = max(seconds.values(), default=0.0) or 1.0
    rows = [
        _row(number, name, spent, spent / longest * (_WIDTH - _LEFT_MARGIN - _RIGHT_MARGIN))
        for number, (name, spent) in enumerate(seconds.items())
    ]
    height = max(1, len(rows)) * _ROW_HEIGHT
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT} fill="{_TEXT_COLOR}">{"".join(rows)}</svg>'
    )


def _row(number: int, name: str, duration_s: float, length: float) -> str:
    top = number * _ROW_HEIGHT
    bar = (
        f'<rect x="{_LEFT_MARGIN}" y="{top + 5}" width="{max(1.0, length):.1f}" height="16" rx="2"'
        f' fill="{_BAR_COLOR}"/>'
    )
    label = f'<text x="{_LEFT_MARGIN - 8}" y="{top + 18}" text-anchor="end">{escape(name)}</text>'
    return f'{label}{bar}<text x="{_LEFT_MARGIN + length + 8:.1f}" y="{top + 18}">{duration_s:.2f} s</text>'
