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

_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Files of a spoken sentence: mono 16-bit WAV at 24 kHz, and the phones if the voice provides them."""

    wav: Path
    phones: Path | None


class Span(NamedTuple):
    """Start and end of a sentence, in seconds from the start of the concatenated sound."""

    start_s: float
    end_s: float


def write_joined(parts: Iterable[Part], pause_s: float, wav: Path, phones: Path) -> list[Span]:
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
    spans: list[Span] = []
    known: list[Phone] | None = []
    pause = round(pause_s * VOICE_RATE_HZ)
    with wave.open(str(wav), "wb") as out:
        out.setparams((1, _BYTES, VOICE_RATE_HZ, 0, "NONE", "not compressed"))
        for part in parts:
            if spans and pause:
                _note_pause(known, spans[-1].end_s, pause / VOICE_RATE_HZ)
                out.writeframes(bytes(pause * _BYTES))
            start_s = out.tell() / VOICE_RATE_HZ
            with wave.open(str(part.wav), "rb") as sound:
                out.writeframes(sound.readframes(sound.getnframes()))
            spans.append(Span(start_s, out.tell() / VOICE_RATE_HZ))
            known = _with_phones(known, part, start_s)
    if not spans:
        raise InputError("The text to speak is empty.")
    if known:
        save_phones(known, phones)
    return spans


def _with_phones(known: list[Phone] | None, part: Part, start_s: float) -> list[Phone] | None:
    if known is None or part.phones is None:
        return None
    return known + [Phone(p.start_s + start_s, p.end_s + start_s, p.name) for p in load_phones(part.phones)]


def _note_pause(known: list[Phone] | None, start_s: float, length_s: float) -> None:
    if known:
        known.append(Phone(start_s, start_s + length_s, ""))


def read_wav(path: Path) -> Float:
    """Read a short mono 16-bit WAV file that this package wrote: (S,) float32 in -1..1."""
    with wave.open(str(path), "rb") as sound:
        pcm = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    return np.asarray(pcm / 32767, np.float32)
