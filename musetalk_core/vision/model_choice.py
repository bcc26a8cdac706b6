"""Assignment of models to the tasks of an image analysis, by model name; no model is loaded."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from musetalk_core.warning_codes import WarningCode

Feature = Literal["caption", "detailed", "ocr", "objects", "tags", "faces"]
ModelName = Literal[
    "auto", "starter", "florence-2-base", "florence-2-large", "smolvlm-256m", "smolvlm-500m", "qwen3-vl-2b"
]

STARTER: Final = "starter"
"""Name for the small models that are part of the installation."""
FLORENCE_MODELS: Final = ("florence-2-large", "florence-2-base")
"""Models for description, OCR and object detection, not for questions; best first."""
CHAT_MODELS: Final = ("qwen3-vl-2b", "smolvlm-500m", "smolvlm-256m")
"""Models for description and questions, without bounding boxes; best first."""
READER, TAGGER, FACE_FINDER = "rapidocr", "efficientnet-lite0", "face-mesh"
_SMALLEST_MODELS: Final[dict[Feature, str]] = {
    "objects": FLORENCE_MODELS[-1],
    "ocr": READER,
    "tags": TAGGER,
}
"""The smallest model for each feature that needs one."""
# best first
_DESCRIBERS: Final = ("qwen3-vl-2b", "smolvlm-500m", *FLORENCE_MODELS, "smolvlm-256m")


@dataclass(frozen=True, slots=True)
class ModelAssignment:
    """
    The model for each task of an analysis, by name in the model registry.

    Attributes:
        describer:   writes the description; `starter`: a sentence composed of the starter models' results.
        answerer:    answers the question; None if there is no question or no model for it.
        detector:    detects objects; None if no model can.
        reader:      reads text (OCR); None if no model can.
        tagger:      classifies the whole image; None if no model can.
        face_finder: finds faces.
        warnings:    for the caller: requested features that are not available.
        missing:     models that would provide these features, one per feature.
    """

    describer: str
    answerer: str | None
    detector: str | None
    reader: str | None
    tagger: str | None
    warnings: tuple[str, ...]
    face_finder: str = FACE_FINDER
    missing: tuple[str, ...] = ()


def assign_models(
    requested: str, features: Collection[Feature], has_question: bool, installed: Collection[str]
) -> ModelAssignment:
    """
    Choose the model for each task of an analysis.

    Args:
        requested:    name of an installed model, `starter`, or `auto` for the best that is installed.
        features:     requested features.
        has_question: whether the job asks a question.
        installed:    names of the models that can be used.
    """
    requested_models = (requested,) if requested not in ("auto", STARTER) else ()
    other_models = () if requested == STARTER else tuple(name for name in _DESCRIBERS if name in installed)
    candidates = (*requested_models, *other_models)
    answerer = next((name for name in candidates if name in CHAT_MODELS), None) if has_question else None
    detector = next((name for name in candidates if name in FLORENCE_MODELS), None)
    reader = requested if requested in FLORENCE_MODELS else READER if READER in installed else None
    tagger = TAGGER if TAGGER in installed else None
    is_missing = {"objects": detector is None, "ocr": reader is None, "tags": tagger is None}
    warnings = (
        [WarningCode.QUESTION_NOT_ANSWERED(_ANSWERERS_HINT)] if has_question and answerer is None else []
    )
    unavailable: list[Feature] = [feature for feature in features if is_missing.get(feature, False)]
    return ModelAssignment(
        candidates[0] if candidates else STARTER,
        answerer,
        detector,
        reader,
        tagger,
        (*warnings, *(_UNAVAILABLE_WARNINGS[feature] for feature in unavailable)),
        missing=(*(CHAT_MODELS[-1:] if warnings else ()), *(_SMALLEST_MODELS[name] for name in unavailable)),
    )


_ANSWERERS_HINT: Final = f"models that answer questions: {', '.join(reversed(CHAT_MODELS))}"
_UNAVAILABLE_WARNINGS: Final[dict[Feature, str]] = {
    "objects": WarningCode.FEATURE_UNAVAILABLE(
        f"models that detect objects: {', '.join(reversed(FLORENCE_MODELS))}"
    ),
    "ocr": WarningCode.FEATURE_UNAVAILABLE(f"models that read text: {READER}, Florence-2"),
    "tags": WarningCode.FEATURE_UNAVAILABLE(f"model that tags images: {TAGGER}"),
}
