"""
Warnings about speech in a language whose sounds the lips do not know, told by transcriptions.

The engine `viseme` recognizes English phonemes and cannot tell that speech is in another language. No model
is loaded for a warning: Whisper base takes seconds on a CPU to detect a language. What a transcription of the
same sound found, earlier or in the same pipeline, is used.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flows.schemas.pipeline import Step
from musetalk_core.transcription.model_choice import is_english
from musetalk_core.warning_codes import WarningCode
from tasks.catalog.spoken_languages import MIN_PROBABILITY, find_spoken_language
from tasks.refs import SourceFile
from tasks.steps.speech_features import SpeechFeatures

_RECOGNIZED: Final = frozenset({"recognised", "energy"})
"""Origins of phonemes found without words that fit the sound."""


def language_warnings(audio: SourceFile, features: SpeechFeatures) -> list[str]:
    """
    Return the warning that the speech of a video is in another language than English.

    Args:
        audio:    the recording.
        features: its features; engines that need no phonemes are not concerned.
    """
    if features.phones not in _RECOGNIZED or _is_told(features.warnings):
        return []
    language = find_spoken_language(audio)
    return [] if language is None or is_english(language) else [_warning(language)]


def pipeline_language_warnings(
    steps: Iterable[Step], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """
    Return the same warning for steps of a pipeline whose speech another step has transcribed.

    Args:
        steps:   steps of the pipeline.
        results: result of each step's job.

    Returns:
        A warning by the name of the step that rendered a video.
    """
    languages = {
        step.job.get("audio"): results[step.name].get("language")
        for step in steps
        if step.type == "transcribe" and _is_sure(results[step.name])
    }
    found: dict[str, str] = {}
    for step in steps:
        result = results[step.name]
        if result.get("phones") not in _RECOGNIZED or _is_told(result.get("warnings", [])):
            continue
        language = languages.get(f"job://{step.name}") or languages.get(step.job.get("audio"))
        if language and not is_english(language):
            found[step.name] = _warning(language)
    return found


def _is_sure(transcript: Mapping[str, Any]) -> bool:
    """Return whether a transcript has text, and a language that was given or is probable."""
    probability = transcript.get("language_probability")
    return bool(transcript.get("segments")) and (probability is None or probability >= MIN_PROBABILITY)


def _is_told(warnings: Iterable[str]) -> bool:
    return any(text.startswith(f"{WarningCode.LANGUAGE_NOT_SUPPORTED}:") for text in warnings)


def _warning(language: str) -> str:
    return WarningCode.LANGUAGE_NOT_SUPPORTED(
        f"the speech is in another language than English ({language}), as its transcription says; the lips"
        " follow the nearest sounds of English or the loudness"
    )
