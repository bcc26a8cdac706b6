"""Prefect task that computes an engine's audio features per frame, with phoneme times where needed."""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.formats.float_rows import write_float32_rows
from musetalk_core.formats.pcm import ROWS_PER_S, PcmFile, PcmSilence, Samples, duration_seconds
from musetalk_core.rendering import chunking
from musetalk_core.speech.alignment.align import find_phones
from musetalk_core.speech.alignment.g2p import is_pronounceable
from musetalk_core.speech.phones import Phone, load_phones, save_phones
from musetalk_core.types import Float
from musetalk_core.warning_codes import WarningCode
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.models.engines import EngineSpec, get_engine
from tasks.models.environment import library_versions
from tasks.models.voices import STARTER
from tasks.refs import Artefact, SourceFile
from tasks.run.cancellation import raise_if_cancelled
from tasks.run.reports import Report, phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced
from tasks.steps.sound import NO_SPEECH, decode_audio, has_speech, level_warnings

PhonesFrom = Literal["given", "aligned", "recognised", "energy", "none"]

_PHONE_RECOGNIZER = "pocketsphinx"
_RECOGNIZER_PACKAGES = ("pocketsphinx", "hibari-tts")
"""Packages that find phonemes: the recognizer, and the voice whose pronunciations are aligned."""
SPEECH_KIND, PHONES_KIND, FEATURES_KIND = "speech", "phones", "features"
WAV_FILE, TEXT_FILE, PHONES_FILE = "speech.wav", "text.txt", "phones.json"
"""Files in the cache entry of a spoken text; phonemes only if its voice reports their times."""


class SpeechFeatures(BaseModel):
    """The audio features of a whole job: one row of float32 per frame, for one engine."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    samples: int
    frames: int
    phones: PhonesFrom
    warnings: tuple[str, ...] = ()


class KnownSpeech(BaseModel):
    """
    Known words or phonemes of a speech. Resolved once per job, and part of the keys made from it.

    Attributes:
        timed: cache entry of a spoken text with phoneme times; they are used as they are.
        text:  the words, which are aligned with the audio; None to recognize phonemes.
    """

    model_config = ConfigDict(frozen=True)

    timed: Artefact | None = None
    text: str | None = None


def resolve_speech(text: str | None, spoken: str | None, spec: EngineSpec) -> KnownSpeech:
    """
    Return what is known about a speech at this moment; nothing for engines that need no phonemes.

    Args:
        text:   the words of the speech, if the job names them.
        spoken: cache key of the spoken text, if a speech job of this system made the audio.
        spec:   the engine.
    """
    if spec.name != "viseme":
        return KnownSpeech()
    artefact = artefact_cache().find(SPEECH_KIND, spoken) if spoken else None
    if artefact is None:
        return KnownSpeech(text=text)
    folder = artefact_cache().path(artefact)  # fetched now, so that the entry stays until the job ends
    if PHONES_FILE in artefact.files:
        return KnownSpeech(timed=artefact)
    return KnownSpeech(text=(folder / TEXT_FILE).read_text() or text)


def features_key(audio: SourceFile, known: KnownSpeech, spec: EngineSpec, rate: str) -> str:
    """Return the cache key of audio features: audio, origin of the phonemes, engine, rate and recognizer."""
    return content_key(
        kind=FEATURES_KIND,
        core=CORE_VERSION,
        audio=audio.sha256,
        text=known.text,
        spoken=known.timed and known.timed.key,
        made_by=get_engine(spec).cache_fingerprint("features"),
        rate=rate,
        **(
            {"recognizer": library_versions(*_RECOGNIZER_PACKAGES)} if _needs_recognition(known, spec) else {}
        ),
    )


def _needs_recognition(known: KnownSpeech, spec: EngineSpec) -> bool:
    return spec.name == "viseme" and known.timed is None


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def speech_features(
    key: str, audio: SourceFile, known: KnownSpeech, spec: EngineSpec, rate: str
) -> SpeechFeatures:
    """
    Compute the audio features of a job for its engine.

    Args:
        key:    `features_key` of the other arguments.
        audio:  the fetched audio.
        known:  what `resolve_speech` returned for this job.
        spec:   the engine.
        rate:   output frames per second, as a fraction.

    Raises:
        InputError: the speech is shorter than one frame, or the file has no audio.
    """
    with phase("features") as report:
        samples = decode_audio(audio)
        frames = chunking.plan_chunks(samples.count, Fraction(rate), 10).frames
        loaded_engine = get_engine(spec)
        phones, origin = _find_phones(audio, known, samples, spec.name == "viseme")
        is_speech = origin in ("given", "aligned") or has_speech(audio)
        heard: Samples = samples
        if not is_speech:  # every engine closes the mouth on silence
            heard, phones, origin = PcmSilence(samples.count), None, "none"

        def make(folder: Path) -> None:
            blocks = loaded_engine.encode_audio(heard, frames, Fraction(rate), phones)
            write_float32_rows(folder, _count_blocks(blocks, duration_seconds(samples), report))

        artefact = artefact_cache().get_or_create(FEATURES_KIND, key, make)
        return SpeechFeatures(
            artefact=artefact,
            samples=samples.count,
            frames=frames,
            phones=origin,
            warnings=(
                *level_warnings(audio),
                *(() if is_speech else (NO_SPEECH,)),
                *(_text_warnings(known.text, origin) if is_speech else ()),
            ),
        )


def _text_warnings(text: str | None, origin: PhonesFrom) -> tuple[str, ...]:
    """Return the warnings about the words of the speech and about a language that the lips do not know."""
    if text and not is_pronounceable(text):
        return (
            WarningCode.LANGUAGE_NOT_SUPPORTED(
                "the text is in a script whose words have no English pronunciation; the lips follow the sound"
            ),
        )
    if text and origin in ("recognised", "energy"):
        return (
            WarningCode.TEXT_NOT_ALIGNED(
                "the text does not fit the sound, or the speech is not English; the lips follow the sound"
            ),
        )
    if origin == "energy":
        return (
            WarningCode.LANGUAGE_NOT_SUPPORTED(
                "no sounds of English were recognized in the speech; the lips follow its loudness"
            ),
        )
    return ()


def _count_blocks(blocks: Iterator[Float], total_s: float, report: Report) -> Iterator[Float]:
    """Yield the blocks; report progress after each one of an engine that encodes 50 rows a second."""
    rows = 0
    for block in blocks:
        yield block
        rows += len(block)
        report.advance("features", min(rows // ROWS_PER_S, int(total_s)), int(total_s), background=True)


def phone_models(origin: PhonesFrom) -> tuple[str, ...]:
    """Return the registry names of the models that found the phonemes; alignment uses the voice's G2P too."""
    match origin:
        case "aligned":
            return _PHONE_RECOGNIZER, STARTER
        case "recognised":
            return (_PHONE_RECOGNIZER,)
        case _:
            return ()


def load_cached_phones(audio: SourceFile, known: KnownSpeech, origin: PhonesFrom) -> list[Phone]:
    """
    Return the timed phonemes that `speech_features` used, from the cache; empty if there are none.

    Args:
        audio, known: as for `speech_features`.
        origin:       the field `phones` of its result.
    """
    if origin == "given":
        artefact = known.timed
    elif origin in ("aligned", "recognised"):
        artefact = artefact_cache().find(PHONES_KIND, _phones_key(audio, known.text))
    else:
        return []
    return load_phones(artefact_cache().file(artefact, PHONES_FILE)) if artefact else []


def _phones_key(audio: SourceFile, text: str | None) -> str:
    return content_key(
        kind=PHONES_KIND,
        core=CORE_VERSION,
        audio=audio.sha256,
        text=text,
        recognizer=library_versions(*_RECOGNIZER_PACKAGES),
    )


def _find_phones(
    audio: SourceFile, known: KnownSpeech, samples: PcmFile, is_needed: bool
) -> tuple[Sequence[Phone] | None, PhonesFrom]:
    if not is_needed:
        return None, "none"
    if known.timed is not None:
        return load_phones(artefact_cache().file(known.timed, PHONES_FILE)), "given"

    def make(folder: Path) -> None:
        phones, origin = find_phones(samples, known.text, check=raise_if_cancelled)
        save_phones(phones, folder / PHONES_FILE)
        (folder / "origin.json").write_text(json.dumps(origin))

    folder = artefact_cache().path(
        artefact_cache().get_or_create(PHONES_KIND, _phones_key(audio, known.text), make)
    )
    return load_phones(folder / PHONES_FILE), json.loads((folder / "origin.json").read_text())
