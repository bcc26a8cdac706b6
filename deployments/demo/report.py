"""Text report of the demo about each rendered video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.console import job_summary
from deployments.demo.quality import measure_quality
from musetalk_core.installation import command
from musetalk_core.speech.phones import Phone, load_phones


@dataclass(frozen=True, slots=True)
class RenderedVideo:
    """A rendered video with its job (as in the API) and the phones of its speech."""

    title: str
    job: dict[str, Any]
    path: Path
    phones: Sequence[Phone]


def load_spoken_phones(speech: dict[str, Any]) -> list[Phone]:
    """
    Load the phone times that the bundled voice reported for a speech job.

    Args:
        speech: a successful speech job, as in the API, of a stack on this computer.
    """
    from tasks.cache.artefacts import artefact_cache
    from tasks.refs import Artefact

    return load_phones(artefact_cache().path(Artefact(**speech["result"]["speech"])) / "phones.json")


def next_steps(api_url: str, *, is_running: bool) -> list[str]:
    """
    Return three next steps after the demo, as lines of text.

    Args:
        api_url:    address of the API.
        is_running: whether the services run after the demo.
    """
    start = "" if is_running else f"{command('up')}, then "
    return [
        "Next steps:",
        f"  1. Open the studio in a browser: {start}{api_url}/studio",
        f"  2. Use your own files: {command('submit lip_sync --video FILE --audio FILE -o talking.mp4')}",
        f"  3. Get the neural engine: {command('setup')}",
    ]


_CARD_FIGURES = (
    ("movement", ("amplitude", "rounding", "correlation", "lag", "bilabials", "pauses")),
    ("picture", ("sharpness_fine", "seam", "flicker", "colour", "corners", "teeth", "jitter")),
)
"""Figures of the quality card that the report shows, a line per group."""


def card_lines(card: dict[str, Any] | None) -> list[str]:
    """
    Return the figures of a quality card as lines of text; those beyond their limits are marked.

    Args:
        card: `quality` of a job's result; None = it could not be measured.
    """
    if card is None:
        return []

    def shown(name: str) -> str:
        figure = card["figures"][name]
        unit = "" if figure["unit"] in ("ratio", "share", "-1..1") else f" {figure['unit']}"
        mark = f" (limit {figure['limit']:g})" if name in card["defects"] else ""
        return f"{name} {figure['value']:.2f}{unit}{mark}"

    return [
        f"{group}: " + ", ".join(shown(name) for name in names if name in card["figures"])
        for group, names in _CARD_FIGURES
    ]


def report_lines(video: RenderedVideo) -> list[str]:
    """Return the path, job summary and quality figures of a video, as lines of text."""
    details = [
        *job_summary(video.job)[:1],
        *measure_quality(video.path, video.phones).report_lines(),
        *card_lines(video.job["result"].get("quality")),
        *job_summary(video.job)[1:],
    ]
    return [f"{video.title}: {video.path.resolve()}", *(f"  {line}" for line in details)]
