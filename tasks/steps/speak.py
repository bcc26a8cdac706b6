"""Prefect tasks of text to speech: synthesize sentences, join them, and encode the audio file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.imperceptible_mark.sound_marker import mark_wav
from musetalk_core.media.audio.decode import write_wav
from musetalk_core.media.output.convert_audio import AudioFormat, convert_wav
from musetalk_core.media.output.tags import MediaTags, synthetic_speech_tags
from musetalk_core.speech.audio.loudness import normalize_loudness
from musetalk_core.speech.phones import save_phones
from musetalk_core.speech.tts.concatenate import SentenceFiles, concatenate_sentences
from musetalk_core.speech.tts.starter_voice import synthesize
from musetalk_core.types import VOICE_RATE_HZ
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.mark_keys import mark_key
from tasks.models.voices import VoiceSpec
from tasks.refs import Artefact
from tasks.run.reports import Report, phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, RETRY_IO, traced
from tasks.settings import get_settings
from tasks.steps.speech_features import PHONES_FILE, SPEECH_KIND, TEXT_FILE, WAV_FILE
from tasks.steps.voice_prompt import context_turn, generate_with_csm

SENTENCE_KIND, SOUND_FILE_KIND = "sentence", "sound-file"
_FACTS = "facts.json"


class Sentence(BaseModel):
    """
    A sentence to synthesize, with its context.

    Attributes:
        text:   the words.
        prompt: cache entry of the voice prompt; None for the starter engine, which has its own voice.
        before: preceding sentences as context, the nearest last: text and cache entry.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    prompt: Artefact | None = None
    before: tuple[tuple[str, Artefact], ...] = ()


class SpokenSentence(BaseModel):
    """A synthesized sentence."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    tries: int
    doubt: str
    """Warning about the quality of the last attempt, in words; empty if there is none."""


class SpokenText(BaseModel):
    """A synthesized text; sentence i is from second spans_s[i][0] to second spans_s[i][1]."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    duration_s: float
    spans_s: tuple[tuple[float, float], ...]


def sentence_key(sentence: Sentence, spec: VoiceSpec) -> str:
    """Return the cache key of a synthesized sentence: text, voice and context."""
    return content_key(
        kind=SENTENCE_KIND,
        text=sentence.text,
        made_by=spec.cache_fingerprint(),
        prompt=sentence.prompt and sentence.prompt.key,
        before=[said.key for _, said in sentence.before],
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def speak_sentence(key: str, sentence: Sentence, spec: VoiceSpec) -> SpokenSentence:
    """
    Synthesize one sentence: `speech.wav` with normalized loudness, and timed phonemes if the voice has them.

    Args:
        key:      `sentence_key` of the other arguments.
        sentence: the sentence with its context.
        spec:     the voice.

    Raises:
        InputError: the text has nothing to speak, or the voice prompt is too long for the model.
        EngineError: the model generated no audio.
    """
    with phase("speak", concurrent=True) as report:

        def make(folder: Path) -> None:
            if spec.engine == "csm":
                facts = _speak_with_csm(sentence, spec, folder, report)
            else:
                facts = _speak_with_starter(sentence.text, spec, folder)
            (folder / _FACTS).write_text(json.dumps(facts))

        artefact = artefact_cache().get_or_create(SENTENCE_KIND, key, make)
        facts = json.loads(artefact_cache().file(artefact, _FACTS).read_text())
        return SpokenSentence(artefact=artefact, **facts)


def _speak_with_csm(sentence: Sentence, spec: VoiceSpec, folder: Path, report: Report) -> dict[str, Any]:
    voice = [context_turn(sentence.prompt)] if sentence.prompt else []
    context = [*voice, *(context_turn(said, text) for text, said in sentence.before)]
    reading = generate_with_csm(sentence.text, spec, context, report)
    write_wav(folder / WAV_FILE, reading.samples, VOICE_RATE_HZ)
    return {"tries": reading.attempts, "doubt": reading.warning}


def _speak_with_starter(text: str, spec: VoiceSpec, folder: Path) -> dict[str, Any]:
    spoken = synthesize(text, spec.speed, spec.seed)
    write_wav(folder / WAV_FILE, normalize_loudness(spoken.samples, spoken.rate), spoken.rate)
    save_phones(spoken.phones, folder / PHONES_FILE)
    return {"tries": 1, "doubt": ""}


def text_key(sentences: Sequence[Artefact], pause_ms: int, mark: str | None = None) -> str:
    """Return the cache key of a synthesized text: its sentences, the pause and the key of the mark."""
    return content_key(
        kind=SPEECH_KIND,
        core=CORE_VERSION,
        sentences=[made.key for made in sentences],
        pause_ms=pause_ms,
        **({} if mark is None else {"mark": mark}),
    )


@task(**CACHED_BY_CONTENT, **RETRY_IO)
@traced
def join_sentences(
    key: str, sentences: list[Artefact], words: list[str], pause_ms: int, mark: str | None = None
) -> SpokenText:
    """
    Concatenate sentences into one cache entry: audio, text, and timed phonemes if all sentences have them.

    Args:
        key:       `text_key` of the other arguments.
        sentences: cache entries of the sentences, in order.
        words:     the text of each sentence.
        pause_ms:  silence between two sentences in milliseconds.
        mark:      id of the key with which the speech is marked; None = no mark.
    """
    with phase("join"):

        def make(folder: Path) -> None:
            files = (_sentence_files(artefact) for artefact in sentences)
            spans = concatenate_sentences(files, pause_ms / 1000, folder / WAV_FILE, folder / PHONES_FILE)
            if mark is not None:
                mark_wav(folder / WAV_FILE, folder / WAV_FILE, mark_key(mark))
            (folder / TEXT_FILE).write_text(" ".join(words))
            (folder / _FACTS).write_text(json.dumps(spans))

        artefact = artefact_cache().get_or_create(SPEECH_KIND, key, make)
        spans = json.loads(artefact_cache().file(artefact, _FACTS).read_text())
        return SpokenText(artefact=artefact, duration_s=spans[-1][1], spans_s=spans)


def _sentence_files(artefact: Artefact) -> SentenceFiles:
    folder = artefact_cache().path(artefact)
    return SentenceFiles(folder / WAV_FILE, folder / PHONES_FILE if PHONES_FILE in artefact.files else None)


def speech_file_key(spoken: Artefact, kind: AudioFormat, tags: MediaTags | None = None) -> str:
    """Return the cache key of an audio file: the spoken text, the format and the tags."""
    tag_parts = {} if tags is None else {"tags": tags.to_metadata()}
    return content_key(kind=SOUND_FILE_KIND, core=CORE_VERSION, speech=spoken.key, format=kind, **tag_parts)


def speech_tags(voice_engine: str) -> MediaTags | None:
    """Return the tags of speech that an engine synthesizes; None if tags are off."""
    return synthetic_speech_tags(voice_engine) if get_settings().mark.tags else None


@task(**CACHED_BY_CONTENT, **RETRY_IO)
@traced
def encode_speech(key: str, spoken: Artefact, kind: AudioFormat, voice_engine: str) -> Artefact:
    """
    Encode a spoken text as an audio file, named `speech.` and the format.

    Args:
        key:          `speech_file_key` of the other arguments.
        spoken:       cache entry of the spoken text.
        kind:         the audio format, such as mp3.
        voice_engine: name of the engine that spoke it, for the tags.
    """
    with phase("encode"):

        def make(folder: Path) -> None:
            source = artefact_cache().path(spoken) / WAV_FILE
            convert_wav(
                source,
                folder / f"speech.{kind}",
                kind,
                ffmpeg=get_settings().media.ffmpeg,
                tags=speech_tags(voice_engine),
            )

        return artefact_cache().get_or_create(SOUND_FILE_KIND, key, make)
