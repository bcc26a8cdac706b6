"""The quality card of a rendered video: measuring, warnings, the gate, and Prefect's page."""

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture

from flows.schemas.video import QualityCard, QualityChoice, QualityFigure
from musetalk_core.quality.figures import FIGURES, Figure
from musetalk_core.warning_codes import WarningCode
from tasks.cache.artefacts import artefact_cache
from tasks.errors import QualityBelowThreshold
from tasks.refs import Artefact
from tasks.run.cancellation import Cancelled
from tasks.settings import get_settings
from tasks.steps.measure_quality import CARD_FILE, MOUTHS_FILE

if TYPE_CHECKING:
    from flows.media.context import JobContext

QUALITY_ARTIFACT: Final = "quality"
"""Key of the artifact."""
_ENGINE_OF_TESTS: Final = "fake"
_FIGURES: Final[Mapping[str, Figure]] = {str(name): figure for name, figure in FIGURES.items()}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QualityRequest:
    """
    How a job wants its video to be measured.

    Attributes:
        choice:     off, card or gate.
        fail_below: lowest score that passes the gate.
    """

    choice: QualityChoice = "off"
    fail_below: float = 0.5


NOT_MEASURED: Final = QualityRequest()
"""The request of a job without a quality card."""


def quality_request(choice: QualityChoice | None, fail_below: float, engine: str) -> QualityRequest:
    """
    Return how a job's video is measured.

    Args:
        choice:     option of the job; None = the setting.
        fail_below: option of the job.
        engine:     engine that renders; the one for tests is measured only if the job asks for it.
    """
    if choice is None:
        choice = "off" if engine == _ENGINE_OF_TESTS else get_settings().render.quality
    return QualityRequest(choice, fail_below)


def finish_card(
    context: "JobContext", request: QualityRequest, measuring: PrefectFuture[Artefact]
) -> QualityCard | None:
    """
    Wait for a quality card, show it on Prefect's page of the run, and warn of its defects.

    Without a gate, an error of the measurement is a warning, and the job succeeds without the figures.

    Raises:
        QualityBelowThreshold: the job has a gate, and the score is below it or nothing could be measured.
        RenderError: the job has a gate, and the video could not be measured.
    """
    try:
        artefact = context.wait_for("quality", measuring)
        folder = artefact_cache().path(artefact)
        card = QualityCard.model_validate_json((folder / CARD_FILE).read_text())
    except Cancelled:
        raise
    except Exception as error:
        if request.choice == "gate":
            raise
        context.warn(WarningCode.QUALITY_NOT_MEASURED(f"the quality card could not be made: {error}"))
        return None
    _show(card, folder / MOUTHS_FILE)
    if request.choice == "gate" and (card.score is None or card.score < request.fail_below):
        raise _below_threshold(card, request.fail_below)
    context.warn(*defect_warnings(card))
    return card


def _below_threshold(card: QualityCard, fail_below: float) -> QualityBelowThreshold:
    if card.score is None:
        return QualityBelowThreshold(
            "the quality of the video could not be judged: no measured frame shows the face",
            score=None,
            fail_below=fail_below,
        )
    judged = {name: one for name, one in card.figures.items() if one.grade is not None}
    worst = sorted(judged, key=lambda name: judged[name].grade or 0.0)[:3]
    listed = ", ".join(_describe(name, judged[name]) for name in worst)
    return QualityBelowThreshold(
        f"the quality score {card.score:.2f} is below {fail_below:g}: {listed}",
        score=card.score,
        fail_below=fail_below,
        figures={name: one.value for name, one in card.figures.items()},
    )


def defect_warnings(card: QualityCard) -> list[str]:
    """Return a warning for lip movement and one for the picture, each if a figure is beyond its limit."""
    codes = {
        "movement": WarningCode.WEAK_LIP_MOVEMENT,
        "picture": WarningCode.PICTURE_DEFECTS,
    }
    warnings: list[str] = []
    for subject, code in codes.items():
        names = [name for name in card.defects if _FIGURES[name].subject == subject]
        if names:
            warnings.append(code(", ".join(_describe(name, card.figures[name]) for name in names)))
    return warnings


def _describe(name: str, figure: QualityFigure) -> str:
    """Return a figure with its limit, for example `seam 6.9 levels (at most 3)`."""
    return f"{name} {figure.value:.3g} {figure.unit} ({_limit(name, figure)})"


def _limit(name: str, figure: QualityFigure) -> str:
    if figure.limit is None:
        return ""
    bound = "at most" if figure.limit > _FIGURES[name].good else "at least"
    return f"{bound} {figure.limit:g}"


def _show(card: QualityCard, mouths: Path) -> None:
    """Create the artifact `quality`. Errors are logged only."""
    try:
        description = "no face measured" if card.score is None else f"score {card.score:.2f}"
        picture = mouths.read_bytes() if mouths.exists() else None
        create_markdown_artifact(
            markdown=to_markdown(card, picture), key=QUALITY_ARTIFACT, description=description
        )
    except Exception as error:
        _log.warning("the artifact of the quality card was not created: %s", error)


def to_markdown(card: QualityCard, mouths: bytes | None) -> str:
    """
    Return the page of a quality card: the score, a strip of mouths, and a table of the figures.

    Args:
        card:   the card.
        mouths: mouths of the source above those of the video, as JPEG; None if there are none.
    """
    score = "" if card.score is None else f"Score **{card.score:.2f}** (0.5 is the limit). "
    lines = [f"{score}{card.with_face} of {card.frames} measured frames show the face.", ""]
    if mouths:
        data = base64.b64encode(mouths).decode()
        lines += [f"![mouths: source above, video below](data:image/jpeg;base64,{data})", ""]
    lines += ["| Figure | Value | Limit | Grade | |", "|---|---|---|---|---|"]
    for name, figure in card.figures.items():
        grade = "" if figure.grade is None else f"{figure.grade:.2f}"
        defect = "**defect**" if name in card.defects else ""
        value = f"{figure.value:.3g} {figure.unit}"
        lines.append(f"| {name} | {value} | {_limit(name, figure)} | {grade} | {defect} |")
    return "\n".join(lines) + "\n"
