"""Text-to-speech steps shared by the speech and portrait flows: split into sentences, synthesize, join."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.futures import PrefectFuture

from flows.speech_schemas import VoiceOptions
from flows.steps import Steps
from flows.voice_choice import settled_voice
from musetalk_core.errors import InputError
from musetalk_core.speech.sentences import sentences
from tasks.fetch import fetch
from tasks.refs import Artefact
from tasks.showing import show_speech
from tasks.voice import (
    Sentence,
    SpokenSentence,
    SpokenText,
    join_sentences,
    sentence_key,
    speak_sentence,
    text_key,
)
from tasks.voice_prompt import prompt_key, voice_prompt
from tasks.voices import VoiceSpec, pinned_voice

_AHEAD = 2
"""Sentences that the starter voice synthesizes ahead in parallel; csm synthesizes one at a time."""


@dataclass(frozen=True, slots=True)
class Speech:
    """
    A synthesized text.

    Attributes:
        spec:              voice.
        sentences:         pieces in which the text was synthesized.
        audio:             audio.
        synthesized_count: number of pieces that were synthesized and not taken from the cache.
        warnings:          warnings for the caller.
    """

    spec: VoiceSpec
    sentences: list[str]
    made: SpokenText
    spoken: int
    warnings: list[str]


def speak_text(parts: Sequence[str], voice: VoiceOptions, steps: Steps) -> Speech:
    """
    Synthesize texts one after the other and join them.

    Args:
        texts:   texts of any length.
        voice:   voice options.
        context: context of the run.

    Raises:
        InputError: the text holds no words, or the requested voice is unavailable.
    """
    return steps.run_with_pinned_models(lambda: _spoken(parts, voice, steps))


def _spoken(parts: Sequence[str], voice: VoiceOptions, steps: Steps) -> Speech:
    chosen, notes = settled_voice(voice)
    spec = pinned_voice(chosen)
    steps.used(*spec.weights)
    steps.settled(voice=spec.model_dump())
    texts = [piece for part in parts for piece in sentences(part, spec.longest_text)]
    if not texts:
        raise InputError("The text to speak contains no words.")
    prompt = _prompt(spec, voice, steps) if spec.engine == "csm" else None
    done, spoken = _sentences(texts, spec, prompt, steps)
    files = [one.artefact for one in done]
    key = text_key(files, voice.pause_duration)
    made = steps.result("join", join_sentences.submit(key, files, texts, voice.pause_duration))
    show_speech(made, texts, spec.called)
    doubts = [f"sentence {n}: {one.doubt}" for n, one in enumerate(done, 1) if one.doubt]
    return Speech(spec, texts, made, spoken, notes + doubts)


def _prompt(spec: VoiceSpec, voice: VoiceOptions, steps: Steps) -> Artefact:
    source = words = None
    if spec.name == "clone" and voice.reference_audio:
        source = steps.fetched(fetch.submit(voice.reference_audio, "audio")).source
        words = voice.reference_text
    key = prompt_key(spec, source, words)
    return steps.result("voice", voice_prompt.submit(key, spec, source, words))


def _sentences(
    texts: Sequence[str], spec: VoiceSpec, prompt: Artefact | None, steps: Steps
) -> tuple[list[SpokenSentence], int]:
    """Synthesize the sentences in order; a sentence with context waits for the sentences before it."""
    waiting: deque[PrefectFuture[SpokenSentence]] = deque()
    done: list[SpokenSentence] = []
    spoken = 0
    hears, ahead = (spec.context_sentences, 0) if spec.engine == "csm" else (0, _AHEAD)

    def take() -> None:
        nonlocal spoken
        one, was_cached = steps.outcome(waiting.popleft())
        spoken += not was_cached
        done.append(one)
        steps.report.advance("speak", len(done), len(texts))

    for number, text in enumerate(texts):
        before = tuple((texts[n], done[n].artefact) for n in range(max(0, number - hears), number))
        sentence = Sentence(text=text, prompt=prompt, before=before)
        step = speak_sentence.with_options(task_run_name=f"sentence {number + 1} of {len(texts)}")
        waiting.append(step.submit(sentence_key(sentence, spec), sentence, spec))
        if len(waiting) > ahead:
            take()
    while waiting:
        take()
    if not spoken:
        steps.cached.append("speak")
    return done, spoken
