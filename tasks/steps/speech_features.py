"""Prefect task that computes an engine's audio features per frame, with phoneme times where needed."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.formats.float_rows import write_float32_rows
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.rendering import chunking
from musetalk_core.speech.alignment.align import find_phones
from musetalk_core.speech.phones import Phone, load_phones, save_phones
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.models.engines import EngineSpec, get_engine
from tasks.models.voices import STARTER
from tasks.refs import Artefact, SourceFile
from tasks.run.media_limits import media_limits
from tasks.run.reports import phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE

PhonesFrom = Literal["given", "aligned", "recognised", "energy", "none"]

_PHONE_RECOGNIZER = "pocketsphinx"
SPEECH_KIND, PCM_KIND, PHONES_KIND, FEATURES_KIND = "speech", "pcm", "phones", "features"
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
        kind=FEATURES_KIND,
        core=CORE_VERSION,
        audio=audio.sha256,
        text=text,
        spoken=spoken,
        made_by=get_engine(spec).cache_fingerprint("features"),
        rate=rate,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
def speech_features(
    key: str, audio: SourceFile, text: str | None, spoken: str | None, spec: EngineSpec, rate: str
) -> SpeechFeatures:
    """
    Compute the audio features of a job for its engine.

    Args:
        key:    `features_key` of the other arguments.
        audio:  the fetched audio.
        text:   the words of the speech, if known; they are aligned with the audio.
        spoken: cache key of the spoken text, if a speech job of this system made the audio; its phoneme times
            are used.
        spec:   the engine.
        rate:   output frames per second, as a fraction.

    Raises:
        InputError: the speech is shorter than one frame, or the file has no audio.
    """
    with phase("features"):
        samples = decode_audio(audio)
        frames = chunking.plan_chunks(samples.count, Fraction(rate), 10).frames
        loaded_engine = get_engine(spec)
        phones, origin = _find_phones(audio, text, spoken, samples, spec.name == "viseme")

        def make(folder: Path) -> None:
            write_float32_rows(folder, loaded_engine.encode_audio(samples, frames, Fraction(rate), phones))

        artefact = artefact_cache().get_or_create(FEATURES_KIND, key, make)
        return SpeechFeatures(artefact=artefact, samples=samples.count, frames=frames, phones=origin)


def phone_models(origin: PhonesFrom) -> tuple[str, ...]:
    """Return the registry names of the models that found the phonemes; alignment uses the voice's G2P too."""
    match origin:
        case "aligned":
            return _PHONE_RECOGNIZER, STARTER
        case "recognised":
            return (_PHONE_RECOGNIZER,)
        case _:
            return ()


def decode_audio(audio: SourceFile) -> PcmFile:
    """
    Decode the audio of a file to 16 kHz mono float32 on disk, once per file.

    Raises:
        InputError: the file has no audio, is damaged, or exceeds a limit.
    """

    def make(folder: Path) -> None:
        decode_speech(source_path(audio), folder / "speech.f32", media_limits())

    key = content_key(kind=PCM_KIND, core=CORE_VERSION, audio=audio.sha256)
    return PcmFile(
        artefact_cache().path(artefact_cache().get_or_create(PCM_KIND, key, make, shared=False))
        / "speech.f32"
    )


def load_cached_phones(
    audio: SourceFile, text: str | None, spoken: str | None, origin: PhonesFrom
) -> list[Phone]:
    """
    Return the timed phonemes that `speech_features` used, from the cache; empty if there are none.

    Args:
        audio, text, spoken: as for `speech_features`.
        origin: the field `phones` of its result.
    """
    if origin == "given" and spoken:
        artefact = artefact_cache().find(SPEECH_KIND, spoken)
    elif origin in ("aligned", "recognised"):
        artefact = artefact_cache().find(PHONES_KIND, _phones_key(audio, _spoken_text(spoken) or text))
    else:
        return []
    return load_phones(artefact_cache().file(artefact, PHONES_FILE)) if artefact else []


def _phones_key(audio: SourceFile, text: str | None) -> str:
    return content_key(kind=PHONES_KIND, core=CORE_VERSION, audio=audio.sha256, text=text)


def _spoken_text(spoken: str | None) -> str | None:
    """Return the words of a spoken text; None if it is not in the cache."""
    artefact = artefact_cache().find(SPEECH_KIND, spoken) if spoken else None
    return artefact_cache().file(artefact, TEXT_FILE).read_text() if artefact else None


def _find_phones(
    audio: SourceFile, text: str | None, spoken: str | None, samples: PcmFile, is_needed: bool
) -> tuple[Sequence[Phone] | None, PhonesFrom]:
    if not is_needed:
        return None, "none"
    artefact = artefact_cache().find(SPEECH_KIND, spoken) if spoken else None
    if artefact is not None and PHONES_FILE in artefact.files:
        return load_phones(artefact_cache().file(artefact, PHONES_FILE)), "given"
    text = _spoken_text(spoken) or text  # a voice without phoneme times, but with known words

    def make(folder: Path) -> None:
        phones, origin = find_phones(samples, text)
        save_phones(phones, folder / PHONES_FILE)
        (folder / "origin.json").write_text(json.dumps(origin))

    folder = artefact_cache().path(
        artefact_cache().get_or_create(PHONES_KIND, _phones_key(audio, text), make)
    )
    return load_phones(folder / PHONES_FILE), json.loads((folder / "origin.json").read_text())
