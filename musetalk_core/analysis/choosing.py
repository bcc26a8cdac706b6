"""Which model does which part of an analysis. Knows names, loads nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

Feature = Literal["caption", "detailed", "ocr", "objects", "tags", "faces"]
ModelName = Literal[
    "auto", "starter", "florence-2-base", "florence-2-large", "smolvlm-256m", "smolvlm-500m", "qwen3-vl-2b"
]

STARTER: Final = "starter"
"""Stands for the small models that came with the installation."""
FLORENCE: Final = ("florence-2-large", "florence-2-base")
"""Describe, read and find objects; take no questions. The best first."""
CHAT: Final = ("qwen3-vl-2b", "smolvlm-500m", "smolvlm-256m")
"""Describe and answer; give no places. The best first."""
READER, TAGGER, FACES = "rapidocr", "efficientnet-lite0", "face-mesh"
_DESCRIBERS: Final = ("qwen3-vl-2b", "smolvlm-500m", *FLORENCE, "smolvlm-256m")


@dataclass(frozen=True, slots=True)
class Cast:
    """
    Who does what, by names of the manifest.

    Attributes:
        describes: writes descriptions; `starter` = a sentence composed of what the starter models see.
        answers:   answers the question; None when there is none, or nobody who can.
        finds:     finds objects; None when nobody can.
        reads:     reads text; None when nobody can.
        tags:      names what the whole picture looks like; None when nobody can.
        faces:     finds faces.
        warnings:  what was asked for and cannot be had, for the caller.
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
    Decide who does what.

    Args:
        asked:        a model's name, which must be installed, or `starter`, or `auto`: the best there is.
        features:     what is wanted.
        has_question: whether a question is to be answered.
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


_ANSWERERS: Final = f"questions are answered by {', '.join(reversed(CHAT))}"
_UNAVAILABLE: Final[dict[Feature, str]] = {
    "objects": f"feature_unavailable: objects are found by {' and '.join(reversed(FLORENCE))}",
    "ocr": f"feature_unavailable: text is read by {READER} and Florence-2",
    "tags": f"feature_unavailable: tags are given by {TAGGER}",
}
