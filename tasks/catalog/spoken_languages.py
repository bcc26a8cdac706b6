"""Languages of recordings, as transcriptions of the same sound detected them; kept with the cache."""

import json
from pathlib import Path
from typing import Final, get_args

from musetalk_core import CORE_VERSION
from musetalk_core.transcription.model_choice import WhisperSize, model_name
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.refs import SourceFile

_KIND: Final = "spoken-language"
_FILE: Final = "language.json"
MIN_PROBABILITY: Final = 0.6
"""Below it a detection says nothing: Whisper base took synthetic French for Thai with 0.45 to 0.51."""
_MODELS: Final = tuple(
    dict.fromkeys(model_name(size) for size in reversed(get_args(WhisperSize)) if not size.endswith(".en"))
)
"""Multilingual models, the best first."""


def note_spoken_language(audio: SourceFile, size: WhisperSize, code: str, probability: float) -> None:
    """
    Remember the language that a multilingual model detected in a recording.

    Args:
        audio:       the recording.
        size:        the model.
        code:        language code, such as "de".
        probability: of the language, 0..1; a language that was given is not detected, and not noted.
    """

    def make(folder: Path) -> None:
        (folder / _FILE).write_text(json.dumps({"code": code, "probability": probability}))

    artefact_cache().get_or_create(_KIND, _key(audio, model_name(size)), make)


def find_spoken_language(audio: SourceFile) -> str | None:
    """Return the language code that a transcription of the same sound detected; None if none is sure."""
    for model in _MODELS:
        if artefact := artefact_cache().find(_KIND, _key(audio, model)):
            found = json.loads(artefact_cache().file(artefact, _FILE).read_text())
            return found["code"] if found["probability"] >= MIN_PROBABILITY else None
    return None


def _key(audio: SourceFile, model: str) -> str:
    """Return the key of a detection; the files of a Whisper model have published hashes."""
    return content_key(kind=_KIND, core=CORE_VERSION, audio=audio.sha256, model=model)
