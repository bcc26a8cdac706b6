"""pocketsphinx: phone recognition, word recognition with the phones of the words, and forced alignment."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.speech.alignment.g2p import WordPronunciation
from musetalk_core.speech.phones import Phone
from musetalk_core.types import SPEECH_RATE_HZ, Float

_FRAME_S: Final = 0.01
_MIN_SAMPLES: Final = int(0.3 * SPEECH_RATE_HZ)
"""Shorter segments (under 0.3 s) are padded with silence: the decoder fails on too few frames."""
_MAX_WORDS_PER_S: Final = 7.0
_FILLER_PREFIXES: Final = ("<", "[", "(", "+")
"""First characters of pocketsphinx's names for silence and noise."""


class PhoneRecognizer:
    """A recognizer of phones, without words, in any English speech. It keeps no state between calls."""

    def __init__(self) -> None:
        root = _model_root()
        self._decoder = _create_decoder(
            hmm=f"{root}/en-us/en-us",
            allphone=f"{root}/en-us/en-us-phone.lm.bin",
            lm=None,
            dict=None,
            lw=2.0,
            pip=0.3,
            beam=1e-20,
            pbeam=1e-20,
        )

    def recognize(self, samples: Float) -> list[Phone]:
        """
        Recognize the phones of up to 30 s.

        Args:
            samples: (S,) float32 at 16 kHz, mono.

        Returns:
            Phones with times from the start of `samples`, '' for silence and noise; empty if decoding fails.
        """
        length_s = len(samples) / SPEECH_RATE_HZ
        if not _decode_utterance(self._decoder, _to_pcm(samples)):
            return []
        segments = self._decoder.seg() or ()
        return _clip_to_length(
            (
                Phone(s.start_frame * _FRAME_S, (s.end_frame + 1) * _FRAME_S, _phone_name(s.word))
                for s in segments
            ),
            length_s,
        )


class WordRecognizer:
    """A recognizer of words that returns their phones: more accurate for English than `PhoneRecognizer`."""

    def __init__(self) -> None:
        root = _model_root()
        # beams as narrow as needed for the cost of phone recognition; docs/LOG.md has the gain of wider ones
        self._decoder = _create_decoder(
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

    def recognize(self, samples: Float) -> list[Phone]:
        """
        Recognize the words of up to 30 s and return their phones.

        Args:
            samples: (S,) float32 at 16 kHz, mono.

        Returns:
            Phones with times from the start of `samples`, '' for silence and noise; empty without any words.
        """
        pcm = _to_pcm(samples)
        self._decoder.activate_search()
        if not _decode_utterance(self._decoder, pcm) or not _count_words(self._decoder):
            return []
        return _clip_to_length(_align_decoded_words(self._decoder, pcm), len(samples) / SPEECH_RATE_HZ)


class ForcedAligner:
    """A forced aligner of a known text with speech, segment after segment. Create one per recording."""

    def __init__(self, words: Sequence[WordPronunciation]) -> None:
        root = _model_root()
        self._decoder = _create_decoder(
            hmm=f"{root}/en-us/en-us", dict=f"{root}/en-us/cmudict-en-us.dict", lm=None
        )
        self._entries = [self._dictionary_entry(word) for word in words]
        self._position = 0
        self._pending_words = 0

    def _dictionary_entry(self, word: WordPronunciation) -> str:
        """Return the dictionary entry of a word; a word that is missing is added with its G2P phones."""
        is_plain = word.text.isascii() and word.text.replace("'", "").isalpha()
        if is_plain and self._decoder.lookup_word(word.text):
            return word.text
        name = "spoken-" + "-".join(word.phones).lower()
        if not self._decoder.lookup_word(name):
            self._decoder.add_word(name, " ".join(word.phones), False)
        return name

    @property
    def is_exhausted(self) -> bool:
        """Whether all words of the text are aligned."""
        return self._position >= len(self._entries)

    def align(self, samples: Float) -> list[Phone]:
        """
        Align up to 30 s of speech with the next words of the text, as many as the speech contains.

        The position in the text does not change until `accept` is called.

        Args:
            samples: (S,) float32 at 16 kHz, mono; follows the previous segment.

        Returns:
            Phones with times from the start of `samples`, '' for silence; empty if the text does not fit.
        """
        self._pending_words = 0
        length_s = len(samples) / SPEECH_RATE_HZ
        pcm = _to_pcm(samples)
        words = self._entries[self._position : self._position + int(length_s * _MAX_WORDS_PER_S) + 2]
        if not words or not self._decode_words(words, pcm):
            return []
        word_count = _count_words(self._decoder)
        phones = _align_decoded_words(self._decoder, pcm) if word_count else []
        self._pending_words = word_count if phones else 0
        return _clip_to_length(phones, length_s)

    def accept(self) -> None:
        """Advance in the text past the words of the segment aligned last."""
        self._position += self._pending_words
        self._pending_words = 0

    def _decode_words(self, words: Sequence[str], pcm: bytes) -> bool:
        """Decode with a grammar, the words in order and an end after any; return whether it succeeded."""
        end = len(words) + 1
        word_arcs = [(i, i + 1, 1.0, word) for i, word in enumerate(words)]
        end_arcs = [(i, end, 1.0) for i in range(1, end)]
        try:
            grammar = self._decoder.create_fsg("text", 0, end, [*word_arcs, *end_arcs])
            self._decoder.add_fsg("text", grammar)
            self._decoder.activate_search("text")
        except (RuntimeError, ValueError):
            return False
        return _decode_utterance(self._decoder, pcm)


def _model_root() -> str:
    try:
        import pocketsphinx
    except ImportError as error:
        raise ModelNotInstalled(
            "Finding the phones of a recording requires the package pocketsphinx."
        ) from error
    return str(pocketsphinx.get_model_path())


def _create_decoder(**options: Any) -> Any:
    from pocketsphinx import Config, Decoder

    try:
        return Decoder(Config(loglevel="FATAL", **options))
    except RuntimeError as error:
        raise ModelNotInstalled("The pocketsphinx model cannot be loaded; reinstall pocketsphinx.") from error


def _decode_utterance(decoder: Any, pcm: bytes) -> bool:
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


def _count_words(decoder: Any) -> int:
    """Return the number of words in the utterance decoded last."""
    return sum(not s.word.startswith(_FILLER_PREFIXES) for s in decoder.seg() or ())


def _align_decoded_words(decoder: Any, pcm: bytes) -> list[Phone]:
    """Decode a second time to align the words found in the first pass, phone by phone; empty on failure."""
    try:
        decoder.set_alignment()
    except RuntimeError:
        return []
    if not _decode_utterance(decoder, pcm):
        return []
    return [
        Phone(p.start * _FRAME_S, (p.start + p.duration) * _FRAME_S, _phone_name(p.name))
        for word in decoder.get_alignment() or ()
        for p in word
    ]


def _to_pcm(samples: Float) -> bytes:
    """Convert (S,) float32 to 16-bit little-endian PCM of at least `_MIN_SAMPLES`."""
    padded = np.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))
    return (np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes()


def _phone_name(name: str) -> str:
    """Return the ARPABET name, or '' for silence and noise."""
    return "" if name == "SIL" or name.startswith(_FILLER_PREFIXES) else name


def _clip_to_length(phones: Any, length_s: float) -> list[Phone]:
    clipped = (Phone(p.start_s, min(p.end_s, length_s), p.name) for p in phones)
    return [p for p in clipped if p.end_s > p.start_s]
