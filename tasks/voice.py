"""Speak a text with the starter voice."""

from pathlib import Path

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.speech.voice import VOICE, write_speech
from tasks.artefacts import artefacts, content_key
from tasks.policies import BY_CONTENT, RETRY_COMPUTE
from tasks.refs import Artefact
from tasks.reports import phase
from tasks.speech import SPEECH

WAV, PHONES = "speech.wav", "phones.json"


def speech_key(text: str, speed: float, pause_ms: int, seed: int) -> str:
    """Name spoken text by everything that decides its sound."""
    return content_key(
        kind=SPEECH, core=CORE_VERSION, voice=VOICE, text=text, speed=speed, pause_ms=pause_ms, seed=seed
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def speak(key: str, text: str, speed: float, pause_ms: int, seed: int) -> Artefact:
    """
    Speak a text; the artefact holds `speech.wav` (24 kHz) and `phones.json` with the voice's own times.

    Args:
        key: `speech_key` of the rest.

    Raises:
        InputError: nothing in the text can be spoken.
    """
    with phase("render"):

        def make(folder: Path) -> None:
            write_speech(text, folder / WAV, folder / PHONES, speed=speed, pause_s=pause_ms / 1000, seed=seed)

        return artefacts().made_once(SPEECH, key, make)
