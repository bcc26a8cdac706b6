"""Prefect task that computes an engine's audio features per frame, with phoneme times where needed."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION, plan
from musetalk_core.media.audio import decode_speech
from musetalk_core.rows import write_rows
from musetalk_core.speech.align import phones_of
from musetalk_core.speech.phones import Phone, load_phones, save_phones
from musetalk_core.speech.samples import PcmFile
from tasks.artefacts import artefacts, content_key
from tasks.limits import limits
from tasks.models import EngineSpec, engine
from tasks.policies import BY_CONTENT, RETRY_COMPUTE
from tasks.refs import Artefact, SourceFile
from tasks.reports import phase
from tasks.sources import source_path
from tasks.voices import STARTER

PhonesFrom = Literal["given", "aligned", "recognised", "energy", "none"]

_EARS = "pocketsphinx"
SPEECH, PCM, PHONES, FEATURES = "speech", "pcm", "phones", "features"
WAV_FILE, TEXT_FILE, PHONES_FILE = "speech.wav", "text.txt", "phones.json"
"""Files in the cache entry of a spoken text; phonemes only if its voice reports their times."""


class SpeechFeatures(BaseModel):
    """The audio features of a whole job: one row of float32 per frame, for one engine."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    samples: int
    frames: int
    phones: PhonesFrom


def features_key(audio: SourceFile, text: str | None, spoken: str | None, spec: EngineSpec, rate: str) -> str:
    """Return the cache key of audio features: audio, text, spoken text, engine and frame rate."""
    return content_key(
        kind=FEATURES,
        core=CORE_VERSION,
        audio=audio.sha256,
        text=text,
        spoken=spoken,
        made_by=engine(spec).made_by("features"),
        rate=rate,
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def speech_features(
    key: str, audio: SourceFile, text: str | None, spoken: str | None, spec: EngineSpec, rate: str
) -> SpeechFeatures:
    """
    Compute the audio features of a job for its engine.

    Args:
        key:    `features_key` of the other arguments.
        audio:  the fetched audio.
        text:   the words of the speech, if known; they are aligned with the audio.
        spoken: cache key of the spoken text, if one of our speech jobs made the audio; its phoneme times
            are used.
        spec:   the engine.
        rate:   output frames per second, as a fraction.

    Raises:
        InputError: the speech is shorter than one frame, or the file has no audio.
    """
    with phase("features"):
        samples = decoded(audio)
        frames = plan.plan(samples.count, Fraction(rate), 10).frames
        heard_by = engine(spec)
        phones, origin = _phones(audio, text, spoken, samples, spec.name == "viseme")

        def make(folder: Path) -> None:
            write_rows(folder, heard_by.encode_speech(samples, frames, Fraction(rate), phones))

        made = artefacts().made_once(FEATURES, key, make)
        return SpeechFeatures(artefact=made, samples=samples.count, frames=frames, phones=origin)


def models_of_phones(origin: PhonesFrom) -> tuple[str, ...]:
    """Return the registry names of the models that found the phonemes; alignment uses the voice's G2P too."""
    match origin:
        case "aligned":
            return _EARS, STARTER
        case "recognised":
            return (_EARS,)
        case _:
            return ()


def decoded(audio: SourceFile) -> PcmFile:
    """
    Decode the audio of a file to 16 kHz mono float32 on disk, once per file.

    Raises:
        InputError: the file has no audio, is damaged, or exceeds a limit.
    """

    def make(folder: Path) -> None:
        decode_speech(source_path(audio), folder / "speech.f32", limits())

    key = content_key(kind=PCM, core=CORE_VERSION, audio=audio.sha256)
    return PcmFile(artefacts().path(artefacts().made_once(PCM, key, make, shared=False)) / "speech.f32")


def known_phones(audio: SourceFile, text: str | None, spoken: str | None, origin: PhonesFrom) -> list[Phone]:
    """
    Return the timed phonemes that `speech_features` used, from the cache; empty if there are none.

    Args:
        audio, text, spoken: as for `speech_features`.
        origin: the field `phones` of its result.
    """
    if origin == "given" and spoken:
        known = artefacts().find(SPEECH, spoken)
    elif origin in ("aligned", "recognised"):
        known = artefacts().find(PHONES, _phones_key(audio, _words(spoken) or text))
    else:
        return []
    return load_phones(artefacts().file(known, PHONES_FILE)) if known else []


def _phones_key(audio: SourceFile, text: str | None) -> str:
    return content_key(kind=PHONES, core=CORE_VERSION, audio=audio.sha256, text=text)


def _words(spoken: str | None) -> str | None:
    """Return the words of a spoken text; None if it is not in the cache."""
    known = artefacts().find(SPEECH, spoken) if spoken else None
    return artefacts().file(known, TEXT_FILE).read_text() if known else None


def _phones(
    audio: SourceFile, text: str | None, spoken: str | None, samples: PcmFile, wanted: bool
) -> tuple[Sequence[Phone] | None, PhonesFrom]:
    if not wanted:
        return None, "none"
    known = artefacts().find(SPEECH, spoken) if spoken else None
    if known is not None and PHONES_FILE in known.files:
        return load_phones(artefacts().file(known, PHONES_FILE)), "given"
    text = _words(spoken) or text  # a voice without phoneme times, but with known words

    def make(folder: Path) -> None:
        phones, origin = phones_of(samples, text)
        save_phones(phones, folder / PHONES_FILE)
        (folder / "origin.json").write_text(json.dumps(origin))

    folder = artefacts().path(artefacts().made_once(PHONES, _phones_key(audio, text), make))
    return load_phones(folder / PHONES_FILE), json.loads((folder / "origin.json").read_text())
