"""Speaking a text: its sentences one by one, the whole, and the file that people get."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core import CORE_VERSION
from musetalk_core.media.audio import write_wav
from musetalk_core.media.sound import SoundKind, convert_wav
from musetalk_core.speech.joining import Part, write_joined
from musetalk_core.speech.phones import save_phones
from musetalk_core.speech.tidy import levelled
from musetalk_core.speech.voice import speak
from musetalk_core.types import VOICE_RATE_HZ
from tasks.artefacts import artefacts, content_key
from tasks.policies import BY_CONTENT, RETRY_COMPUTE, RETRY_IO
from tasks.refs import Artefact
from tasks.reports import Report, phase
from tasks.settings import get_settings
from tasks.speech import PHONES_FILE, SPEECH, TEXT_FILE, WAV_FILE
from tasks.voice_prompt import read_by_csm, turn_of
from tasks.voices import VoiceSpec

SENTENCE, SOUND_FILE = "sentence", "sound-file"
_FACTS = "facts.json"


class Sentence(BaseModel):
    """
    What is to be said, and in which context.

    Attributes:
        text:   the words.
        prompt: the voice; None for the starter engine, which has its own.
        before: sentences it hears, the nearest last, with their words.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    prompt: Artefact | None = None
    before: tuple[tuple[str, Artefact], ...] = ()


class SpokenSentence(BaseModel):
    """A sentence that was spoken."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    tries: int
    doubt: str
    """What is wrong with it even so, in words."""


class SpokenText(BaseModel):
    """A whole text that was spoken; sentence i lies from spans_s[i][0] to spans_s[i][1]."""

    model_config = ConfigDict(frozen=True)

    artefact: Artefact
    duration_s: float
    spans_s: tuple[tuple[float, float], ...]


def sentence_key(sentence: Sentence, spec: VoiceSpec) -> str:
    """Name a spoken sentence by everything that decides its sound, what it hears included."""
    return content_key(
        kind=SENTENCE,
        text=sentence.text,
        made_by=spec.made_by(),
        prompt=sentence.prompt and sentence.prompt.key,
        before=[said.key for _, said in sentence.before],
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def speak_sentence(key: str, sentence: Sentence, spec: VoiceSpec) -> SpokenSentence:
    """
    Speak one sentence: `speech.wav` at one loudness, and its phones if the voice knows them.

    Args:
        key: `sentence_key` of the rest.

    Raises:
        InputError: nothing in it can be spoken, or its voice is too long for the model.
        EngineError: the model made no sound.
    """
    with phase("speak", beside=True) as report:

        def make(folder: Path) -> None:
            if spec.engine == "csm":
                facts = _by_csm(sentence, spec, folder, report)
            else:
                facts = _by_starter(sentence.text, spec, folder)
            (folder / _FACTS).write_text(json.dumps(facts))

        made = artefacts().made_once(SENTENCE, key, make)
        facts = json.loads(artefacts().file(made, _FACTS).read_text())
        return SpokenSentence(artefact=made, **facts)


def _by_csm(sentence: Sentence, spec: VoiceSpec, folder: Path, report: Report) -> dict[str, Any]:
    voice = [turn_of(sentence.prompt)] if sentence.prompt else []
    context = [*voice, *(turn_of(said, text) for text, said in sentence.before)]
    reading = read_by_csm(sentence.text, spec, context, report)
    write_wav(folder / WAV_FILE, reading.samples, VOICE_RATE_HZ)
    return {"tries": reading.tries, "doubt": reading.doubt}


def _by_starter(text: str, spec: VoiceSpec, folder: Path) -> dict[str, Any]:
    spoken = speak(text, spec.speed, spec.seed)
    write_wav(folder / WAV_FILE, levelled(spoken.samples, spoken.rate), spoken.rate)
    save_phones(spoken.phones, folder / PHONES_FILE)
    return {"tries": 1, "doubt": ""}


def text_key(sentences: Sequence[Artefact], pause_ms: int) -> str:
    """Name a spoken text by its sentences."""
    return content_key(
        kind=SPEECH, core=CORE_VERSION, sentences=[made.key for made in sentences], pause_ms=pause_ms
    )


@task(**BY_CONTENT, **RETRY_IO)
def join_sentences(key: str, sentences: list[Artefact], words: list[str], pause_ms: int) -> SpokenText:
    """
    Put sentences one after the other; the artefact holds the whole sound, its words, and phones if known.

    Args:
        key:      `text_key` of the rest.
        words:    of each sentence.
        pause_ms: silence between two.
    """
    with phase("join"):

        def make(folder: Path) -> None:
            files = (_part(made) for made in sentences)
            spans = write_joined(files, pause_ms / 1000, folder / WAV_FILE, folder / PHONES_FILE)
            (folder / TEXT_FILE).write_text(" ".join(words))
            (folder / _FACTS).write_text(json.dumps(spans))

        made = artefacts().made_once(SPEECH, key, make)
        spans = json.loads(artefacts().file(made, _FACTS).read_text())
        return SpokenText(artefact=made, duration_s=spans[-1][1], spans_s=spans)


def _part(made: Artefact) -> Part:
    folder = artefacts().path(made)
    return Part(folder / WAV_FILE, folder / PHONES_FILE if PHONES_FILE in made.files else None)


def file_key(spoken: Artefact, kind: SoundKind) -> str:
    """Name a sound file by what it holds and its kind."""
    return content_key(kind=SOUND_FILE, core=CORE_VERSION, speech=spoken.key, format=kind)


@task(**BY_CONTENT, **RETRY_IO)
def encode_speech(key: str, spoken: Artefact, kind: SoundKind) -> Artefact:
    """
    Write a spoken text as a file of some kind, named `speech.KIND`.

    Args:
        key: `file_key` of the rest.
    """
    with phase("encode"):

        def make(folder: Path) -> None:
            source = artefacts().path(spoken) / WAV_FILE
            convert_wav(source, folder / f"speech.{kind}", kind, ffmpeg=get_settings().media.ffmpeg)

        return artefacts().made_once(SOUND_FILE, key, make)
