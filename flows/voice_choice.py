"""From the words of a job to the voice that its tasks use. Imports nothing of Prefect."""

from flows.speech_schemas import VoiceOptions
from tasks.voices import VoiceSpec, chosen_voice


def settled_voice(voice: VoiceOptions) -> tuple[VoiceSpec, list[str]]:
    """
    Decide who speaks; `auto` is settled here, once.

    Returns:
        The voice, and what in the job has no effect on it, in words.

    Raises:
        ModelNotInstalled, InputError: see `tasks.voices.chosen_voice`.
    """
    return chosen_voice(
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
