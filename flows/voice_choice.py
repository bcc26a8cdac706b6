"""Selection of the voice for a job. Imports nothing of Prefect."""

from flows.speech_schemas import VoiceOptions
from tasks.voices import VoiceSpec, choose_voice


def resolve_voice(voice: VoiceOptions) -> tuple[VoiceSpec, list[str]]:
    """
    Return the voice for a job. `auto` is resolved here and nowhere else.

    Returns:
        The voice, and a warning for each field of the job that has no effect on it.

    Raises:
        ModelNotInstalled, InputError: see `tasks.voices.chosen_voice`.
    """
    return choose_voice(
        voice.engine,
        {
            "name": voice.voice,
            "temperature": voice.temperature,
            "topk": voice.topk,
            "longest_ms": voice.max_audio_length,
            "context_sentences": voice.context_sentences,
            "speed": voice.speed,
            "seed": voice.seed,
        },
    )
