"""Text-to-speech steps shared by the speech and portrait flows: split into sentences, synthesize, join."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.futures import PrefectFuture

from flows.media.context import JobContext
from flows.media.model_selection import resolve_voice
from flows.schemas.speech import VoiceOptions
from musetalk_core.errors import InputError
from musetalk_core.speech.tts.sentence_splitter import split_sentences
from musetalk_core.warning_codes import WarningCode
from tasks.artifact_pages.speech import show_speech
from tasks.models.voices import VoiceSpec, pin_voice
from tasks.refs import Artefact
from tasks.steps.fetch import fetch
from tasks.steps.sound import NO_SPEECH, has_speech, level_warnings
from tasks.steps.speak import (
    Sentence,
    SpokenSentence,
    SpokenText,
    join_sentences,
    sentence_key,
    speak_sentence,
    text_key,
)
from tasks.steps.voice_prompt import prompt_key, voice_prompt

_MAX_PENDING_SENTENCES = 2
"""Sentences that the starter voice synthesizes ahead in parallel; csm synthesizes one at a time."""


@dataclass(frozen=True, slots=True)
class SynthesizedSpeech:
    """
    A synthesized text.

    Attributes:
        spec:              voice.
        sentences:         pieces in which the text was synthesized.
        audio:             cache entry of the audio, with the times of its sentences.
        synthesized_count: number of pieces that were synthesized and not taken from the cache.
        warnings:          warnings for the caller.
    """

    spec: VoiceSpec
    sentences: list[str]
    audio: SpokenText
    synthesized_count: int
    warnings: list[str]


def synthesize_text(
    texts: Sequence[str],
    voice: VoiceOptions,
    context: JobContext,
    *,
    fallback: bool = False,
    mark: str | None = None,
) -> SynthesizedSpeech:
    """
    Synthesize texts one after the other and join them.

    Args:
        texts:    texts of any length.
        voice:    voice options.
        context:  context of the run.
        fallback: whether the best installed voice may replace one that is not installed.
        mark:     id of the key with which the speech is marked; None = no mark.

    Raises:
        InputError: the text contains no words, or the requested voice is unavailable.
    """
    return context.run_with_pinned_models(
        lambda: _synthesize(texts, voice, context, resolve_voice(voice, fallback=fallback), mark)
    )


def _synthesize(
    parts: Sequence[str],
    voice: VoiceOptions,
    context: JobContext,
    chosen: tuple[VoiceSpec, list[str]],
    mark: str | None,
) -> SynthesizedSpeech:
    voice_spec, notes = chosen
    spec = pin_voice(voice_spec)
    context.record_models(*spec.weights)
    context.record_choice(voice=spec.model_dump())
    context.record_engine(spec.engine)
    pieces = [piece for part in parts for piece in split_sentences(part, spec.max_text_chars)]
    if not pieces:
        raise InputError("The text to speak contains no words.")
    prompt = _voice_prompt(spec, voice, context) if spec.engine == "csm" else None
    spoken_sentences, synthesized_count = _synthesize_sentences(pieces, spec, prompt, context)
    files = [one.artefact for one in spoken_sentences]
    key = text_key(files, voice.pause_duration, mark)
    joined = context.wait_for("join", join_sentences.submit(key, files, pieces, voice.pause_duration, mark))
    context.record_choice(imperceptible_mark=mark)
    show_speech(joined, pieces, spec.display_name)
    sentence_warnings = [
        WarningCode.SENTENCE_UNCERTAIN(f"sentence {n}: {one.doubt}")
        for n, one in enumerate(spoken_sentences, 1)
        if one.doubt
    ]
    return SynthesizedSpeech(spec, pieces, joined, synthesized_count, notes + sentence_warnings)


def _voice_prompt(spec: VoiceSpec, voice: VoiceOptions, context: JobContext) -> Artefact:
    source = reference_text = None
    if spec.name == "clone" and voice.reference_audio:
        source = context.wait_for_input(fetch.submit(voice.reference_audio, "audio")).source
        reference_text = voice.reference_text
        context.warn(*level_warnings(source), *(() if has_speech(source) else (NO_SPEECH,)))
    key = prompt_key(spec, source, reference_text)
    return context.wait_for("voice", voice_prompt.submit(key, spec, source, reference_text))


def _synthesize_sentences(
    texts: Sequence[str], spec: VoiceSpec, prompt: Artefact | None, context: JobContext
) -> tuple[list[SpokenSentence], int]:
    """Synthesize the sentences in order; a sentence with context waits for the sentences before it."""
    pending: deque[PrefectFuture[SpokenSentence]] = deque()
    results: list[SpokenSentence] = []
    synthesized_count = 0
    context_size, max_pending = (
        (spec.context_sentences, 0) if spec.engine == "csm" else (0, _MAX_PENDING_SENTENCES)
    )

    def collect_next() -> None:
        nonlocal synthesized_count
        one, was_cached = context.wait_with_cache_flag("speak", pending.popleft())
        synthesized_count += not was_cached
        results.append(one)
        context.report.advance("speak", len(results), len(texts))

    for number, text in enumerate(texts):
        preceding = tuple(
            (texts[n], results[n].artefact) for n in range(max(0, number - context_size), number)
        )
        sentence = Sentence(text=text, prompt=prompt, before=preceding)
        step = speak_sentence.with_options(task_run_name=f"sentence {number + 1} of {len(texts)}")
        pending.append(step.submit(sentence_key(sentence, spec), sentence, spec))
        if len(pending) > max_pending:
            collect_next()
    while pending:
        collect_next()
    if not synthesized_count:
        context.cached.append("speak")
    return results, synthesized_count
