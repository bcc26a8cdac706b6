"""Concatenation of spoken sentences into one WAV file, with pauses and the times of their phones."""

import wave
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.speech.phones import Phone, load_phones, save_phones
from musetalk_core.types import VOICE_RATE_HZ, Float

_BYTES_PER_SAMPLE: Final = 2


@dataclass(frozen=True, slots=True)
class SentenceFiles:
    """Files of a spoken sentence: mono 16-bit WAV at 24 kHz, and the phones if the voice provides them."""

    wav: Path
    phones: Path | None


class SentenceSpan(NamedTuple):
    """Start and end of a sentence, in seconds from the start of the concatenated sound."""

    start_s: float
    end_s: float


def concatenate_sentences(
    sentences: Iterable[SentenceFiles], pause_s: float, wav_path: Path, phones_path: Path
) -> list[SentenceSpan]:
    """
    Concatenate sentences with pauses; one sentence is in memory at a time.

    Args:
        sentences:   the sentences in order.
        pause_s:     silence between two sentences, in seconds.
        wav_path:    the 24 kHz mono 16-bit WAV file to write.
        phones_path: the phones file to write; not written if any sentence has no phones.

    Returns:
        Start and end of each sentence.

    Raises:
        InputError: there are no sentences.
    """
    spans: list[SentenceSpan] = []
    all_phones: list[Phone] | None = []
    pause_samples = round(pause_s * VOICE_RATE_HZ)
    with wave.open(str(wav_path), "wb") as out:
        out.setparams((1, _BYTES_PER_SAMPLE, VOICE_RATE_HZ, 0, "NONE", "not compressed"))
        for sentence in sentences:
            if spans and pause_samples:
                _append_pause(all_phones, spans[-1].end_s, pause_samples / VOICE_RATE_HZ)
                out.writeframes(bytes(pause_samples * _BYTES_PER_SAMPLE))
            start_s = out.tell() / VOICE_RATE_HZ
            with wave.open(str(sentence.wav), "rb") as source:
                out.writeframes(source.readframes(source.getnframes()))
            spans.append(SentenceSpan(start_s, out.tell() / VOICE_RATE_HZ))
            all_phones = _append_phones(all_phones, sentence, start_s)
    if not spans:
        raise InputError("The text to speak is empty.")
    if all_phones:
        save_phones(all_phones, phones_path)
    return spans


def _append_phones(
    all_phones: list[Phone] | None, sentence: SentenceFiles, start_s: float
) -> list[Phone] | None:
    if all_phones is None or sentence.phones is None:
        return None
    return all_phones + [
        Phone(p.start_s + start_s, p.end_s + start_s, p.name) for p in load_phones(sentence.phones)
    ]


def _append_pause(all_phones: list[Phone] | None, start_s: float, length_s: float) -> None:
    if all_phones:
        all_phones.append(Phone(start_s, start_s + length_s, ""))


def read_wav(path: Path) -> Float:
    """Read a short mono 16-bit WAV file that this package wrote: (S,) float32 in -1..1."""
    with wave.open(str(path), "rb") as source:
        pcm = np.frombuffer(source.readframes(source.getnframes()), "<i2")
    return np.asarray(pcm / 32767, np.float32)
