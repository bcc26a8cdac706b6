"""pocketsphinx: phone recognition, word recognition with the phones of the words, and forced alignment."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.pronunciation import SpokenWord
from musetalk_core.types import SPEECH_RATE_HZ, Float

_FRAME_S: Final = 0.01
_LEAST: Final = int(0.3 * SPEECH_RATE_HZ)
"""Shorter segments (under 0.3 s) are padded with silence: the decoder fails on too few frames."""
_FASTEST_WORDS_PER_S: Final = 7.0
_FILLERS: Final = ("<", "[", "(", "+")
"""First characters of pocketsphinx's names for silence and noise."""


class Recogniser:
    """A recognizer of phones, without words, in any English speech. It keeps no state between calls."""

    def __init__(self) -> None:
        root = _model_root()
        self._decoder = _decoder(
            hmm=f"{root}/en-us/en-us",
            allphone=f"{root}/en-us/en-us-phone.lm.bin",
            lm=None,
            dict=None,
            lw=2.0,
            pip=0.3,
            beam=1e-20,
            pbeam=1e-20,
        )

    def phones(self, samples: Float) -> list[Phone]:
        """
        Recognize the phones of up to 30 s.

        Args:
            samples: (S,) float32 at 16 kHz, mono.

        Returns:
            Phones with times from the start of `samples`, '' for silence and noise; empty if decoding fails.
        """
        length_s = len(samples) / SPEECH_RATE_HZ
        if not _decoded(self._decoder, _pcm(samples)):
            return []
        found = self._decoder.seg() or ()
        return _clipped(
            (Phone(s.start_frame * _FRAME_S, (s.end_frame + 1) * _FRAME_S, _plain(s.word)) for s in found),
            length_s,
        )


class Listener:
    """A recognizer of words that returns their phones: more accurate for English than `PhoneRecognizer`."""

    def __init__(self) -> None:
        root = _model_root()
        # beams as narrow as needed for the cost of phone recognition; docs/LOG.md has the gain of wider ones
        self._decoder = _decoder(
            hmm=f"{root}/en-us/en-us",
            lm=f"{root}/en-us/en-us.lm.bin",
            dict=f"{root}/en-us/cmudict-en-us.dict",
            fwdflat=False,
            maxhmmpf=800,
            maxwpf=5,
            pl_window=8,
            pl_beam=1e-6,
            pl_pbeam=1e-6,
            topn=2,
        )

    def phones(self, samples: Float) -> list[Phone]:
        """
        Recognize the words of up to 30 s and return their phones.

        Args:
            samples: (S,) float32 at 16 kHz, mono.

        Returns:
            Phones with times from the start of `samples`, '' for silence and noise; empty without any words.
        """
        pcm = _pcm(samples)
        self._decoder.activate_search()
        if not _decoded(self._decoder, pcm) or not _words(self._decoder):
            return []
        return _clipped(_in_detail(self._decoder, pcm), len(samples) / SPEECH_RATE_HZ)


class Aligner:
    """A forced aligner of a known text with speech, segment after segment. Create one per recording."""

    def __init__(self, words: Sequence[SpokenWord]) -> None:
        root = _model_root()
        self._decoder = _decoder(hmm=f"{root}/en-us/en-us", dict=f"{root}/en-us/cmudict-en-us.dict", lm=None)
        self._chain = [self._entry(word) for word in words]
        self._next = 0
        self._heard = 0

    def _entry(self, word: SpokenWord) -> str:
        """Return the dictionary entry of a word; a word that is missing is added with its G2P phones."""
        plain = word.text.isascii() and word.text.replace("'", "").isalpha()
        if plain and self._decoder.lookup_word(word.text):
            return word.text
        name = "spoken-" + "-".join(word.phones).lower()
        if not self._decoder.lookup_word(name):
            self._decoder.add_word(name, " ".join(word.phones), False)
        return name

    @property
    def is_done(self) -> bool:
        """Whether all words of the text are aligned."""
        return self._next >= len(self._chain)

    def phones(self, samples: Float) -> list[Phone]:
        """
        Align up to 30 s of speech with the next words of the text, as many as the speech contains.

        The position in the text does not change until `accept` is called.

        Args:
            samples: (S,) float32 at 16 kHz, mono; follows the previous segment.

        Returns:
            Phones with times from the start of `samples`, '' for silence; empty if the text does not fit.
        """
        self._heard = 0
        length_s = len(samples) / SPEECH_RATE_HZ
        pcm = _pcm(samples)
        words = self._chain[self._next : self._next + int(length_s * _FASTEST_WORDS_PER_S) + 2]
        if not words or not self._listened(words, pcm):
            return []
        heard = _words(self._decoder)
        phones = _in_detail(self._decoder, pcm) if heard else []
        self._heard = heard if phones else 0
        return _clipped(phones, length_s)

    def accept(self) -> None:
        """Advance in the text past the words of the segment aligned last."""
        self._next += self._heard
        self._heard = 0

    def _listened(self, words: Sequence[str], pcm: bytes) -> bool:
        """Decode with a grammar, the words in order and an end after any; return whether it succeeded."""
        end = len(words) + 1
        steps = [(i, i + 1, 1.0, word) for i, word in enumerate(words)]
        ends = [(i, end, 1.0) for i in range(1, end)]
        try:
            grammar = self._decoder.create_fsg("text", 0, end, [*steps, *ends])
            self._decoder.add_fsg("text", grammar)
            self._decoder.activate_search("text")
        except (RuntimeError, ValueError):
            return False
        return _decoded(self._decoder, pcm)


def _model_root() -> str:
    try:
        import pocketsphinx
    except ImportError as error:
        raise ModelNotInstalled(
            "Finding the phones of a recording requires the package pocketsphinx."
        ) from error
    return str(pocketsphinx.get_model_path())


def _decoder(**options: Any) -> Any:
    from pocketsphinx import Config, Decoder

    try:
        return Decoder(Config(loglevel="FATAL", **options))
    except RuntimeError as error:
        raise ModelNotInstalled("The pocketsphinx model cannot be loaded; reinstall pocketsphinx.") from error


def _decoded(decoder: Any, pcm: bytes) -> bool:
    """
    Decode one utterance and return whether it succeeded.

    The noise estimate is reset first, so that no segment depends on previous ones.
    """
    try:
        decoder.start_stream()
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, full_utt=True)
        finally:
            decoder.end_utt()
    except RuntimeError:
        return False
    return True


def _words(decoder: Any) -> int:
    """Return the number of words in the utterance decoded last."""
    return sum(not s.word.startswith(_FILLERS) for s in decoder.seg() or ())


def _in_detail(decoder: Any, pcm: bytes) -> list[Phone]:
    """Decode a second time to align the words found in the first pass, phone by phone; empty on failure."""
    try:
        decoder.set_alignment()
    except RuntimeError:
        return []
    if not _decoded(decoder, pcm):
        return []
    return [
        Phone(p.start * _FRAME_S, (p.start + p.duration) * _FRAME_S, _plain(p.name))
        for word in decoder.get_alignment() or ()
        for p in word
    ]


def _pcm(samples: Float) -> bytes:
    """Convert (S,) float32 to 16-bit little-endian PCM of at least `_MIN_SAMPLES`."""
    filled = np.pad(samples, (0, max(0, _LEAST - len(samples))))
    return (np.clip(filled, -1, 1) * 32767).astype("<i2").tobytes()


def _plain(name: str) -> str:
    """Return the ARPABET name, or '' for silence and noise."""
    return "" if name == "SIL" or name.startswith(_FILLERS) else name


def _clipped(phones: Any, length_s: float) -> list[Phone]:
    cut = (Phone(p.start_s, min(p.end_s, length_s), p.name) for p in phones)
    return [p for p in cut if p.end_s > p.start_s]
