"""Assignment of models to the tasks of an image analysis, by model name; no model is loaded."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

Feature = Literal["caption", "detailed", "ocr", "objects", "tags", "faces"]
ModelName = Literal[
    "auto", "starter", "florence-2-base", "florence-2-large", "smolvlm-256m", "smolvlm-500m", "qwen3-vl-2b"
]

STARTER: Final = "starter"
"""Name for the small models that are part of the installation."""
FLORENCE: Final = ("florence-2-large", "florence-2-base")
"""Models for description, OCR and object detection, not for questions; best first."""
CHAT: Final = ("qwen3-vl-2b", "smolvlm-500m", "smolvlm-256m")
"""Models for description and questions, without bounding boxes; best first."""
READER, TAGGER, FACES = "rapidocr", "efficientnet-lite0", "face-mesh"
# best first
_DESCRIBERS: Final = ("qwen3-vl-2b", "smolvlm-500m", *FLORENCE, "smolvlm-256m")


@dataclass(frozen=True, slots=True)
class Cast:
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
    """

    describes: str
    answers: str | None
    finds: str | None
    reads: str | None
    tags: str | None
    warnings: tuple[str, ...]
    faces: str = FACES


def cast_for(
    asked: str, features: Collection[Feature], has_question: bool, installed: Collection[str]
) -> Cast:
    """
    Choose the model for each task of an analysis.

    Args:
        requested:    name of an installed model, `starter`, or `auto` for the best that is installed.
        features:     requested features.
        has_question: whether the job asks a question.
        installed:    names of the models that can be used.
    """
    named = (asked,) if asked not in ("auto", STARTER) else ()
    others = () if asked == STARTER else tuple(name for name in _DESCRIBERS if name in installed)
    able = (*named, *others)
    answers = next((name for name in able if name in CHAT), None) if has_question else None
    finds = next((name for name in able if name in FLORENCE), None)
    reads = asked if asked in FLORENCE else READER if READER in installed else None
    tags = TAGGER if TAGGER in installed else None
    lacks = {"objects": finds is None, "ocr": reads is None, "tags": tags is None}
    warnings = [f"question_not_answered: {_ANSWERERS}"] if has_question and answers is None else []
    warnings += [_UNAVAILABLE[feature] for feature in features if lacks.get(feature, False)]
    return Cast(able[0] if able else STARTER, answers, finds, reads, tags, tuple(warnings))


_ANSWERERS: Final = f"models that answer questions: {', '.join(reversed(CHAT))}"
_UNAVAILABLE: Final[dict[Feature, str]] = {
    "objects": f"feature_unavailable: models that detect objects: {', '.join(reversed(FLORENCE))}",
    "ocr": f"feature_unavailable: models that read text: {READER}, Florence-2",
    "tags": f"feature_unavailable: model that tags images: {TAGGER}",
}
