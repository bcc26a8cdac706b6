"""pocketsphinx behind three small classes: phones, phones of the words it hears, phones of a known text."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.pronunciation import SpokenWord
from musetalk_core.types import SPEECH_RATE_HZ, Float

_FRAME_S: Final = 0.01
_LEAST: Final = int(0.3 * SPEECH_RATE_HZ)
"""Shorter pieces are filled up with silence: too few frames make the decoder fail."""
_FASTEST_WORDS_PER_S: Final = 7.0
_FILLERS: Final = ("<", "[", "(", "+")


class Recogniser:
    """Hears phones in any English speech. It keeps nothing of what it has heard."""

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
        Recognise up to 30 s.

        Args:
            samples: (S,) float32 at 16 kHz.

        Returns:
            Phones from the start of `samples`, '' for silence and noise; none where recognition fails.
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
    """Hears words, and their phones in detail: what is English is heard better this way."""

    def __init__(self) -> None:
        root = _model_root()
        # Narrow enough to cost what phones alone cost; docs/LOG.md has what wider ones would win.
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
        Recognise up to 30 s.

        Args:
            samples: (S,) float32 at 16 kHz.

        Returns:
            Phones from the start of `samples`, '' for silence and noise; none where no word is heard.
        """
        pcm = _pcm(samples)
        self._decoder.activate_search()
        if not _decoded(self._decoder, pcm) or not _words(self._decoder):
            return []
        return _clipped(_in_detail(self._decoder, pcm), len(samples) / SPEECH_RATE_HZ)


class Aligner:
    """Finds the words of a known text in speech, piece after piece. One per file."""

    def __init__(self, words: Sequence[SpokenWord]) -> None:
        root = _model_root()
        self._decoder = _decoder(hmm=f"{root}/en-us/en-us", dict=f"{root}/en-us/cmudict-en-us.dict", lm=None)
        self._chain = [self._entry(word) for word in words]
        self._next = 0
        self._heard = 0

    def _entry(self, word: SpokenWord) -> str:
        """Name the dictionary's entry for a word; words it lacks are added as the reader speaks them."""
        plain = word.text.isascii() and word.text.replace("'", "").isalpha()
        if plain and self._decoder.lookup_word(word.text):
            return word.text
        name = "spoken-" + "-".join(word.phones).lower()
        if not self._decoder.lookup_word(name):
            self._decoder.add_word(name, " ".join(word.phones), False)
        return name

    @property
    def is_done(self) -> bool:
        """True when the text is used up."""
        return self._next >= len(self._chain)

    def phones(self, samples: Float) -> list[Phone]:
        """
        Align a piece of speech, up to 30 s, with as much of the text to come as it holds.

        The text stays where it is until `accept` is called.

        Args:
            samples: (S,) float32 at 16 kHz, following the piece before.

        Returns:
            Phones from the start of `samples`, '' for silence; none where the text does not fit.
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
        """Go on in the text behind the words of the piece just aligned."""
        self._next += self._heard
        self._heard = 0

    def _listened(self, words: Sequence[str], pcm: bytes) -> bool:
        """Decode with a chain of words that may end after any of them."""
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
            "Finding the phones of a recording needs the package pocketsphinx."
        ) from error
    return str(pocketsphinx.get_model_path())


def _decoder(**options: Any) -> Any:
    from pocketsphinx import Config, Decoder

    try:
        return Decoder(Config(loglevel="FATAL", **options))
    except RuntimeError as error:
        raise ModelNotInstalled("The phone recogniser is damaged; reinstall pocketsphinx.") from error


def _decoded(decoder: Any, pcm: bytes) -> bool:
    """
    Run one utterance; False when pocketsphinx gives up on it.

    It forgets the noise it has measured before, so that no piece depends on others.
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
    """Count the words of the utterance just decoded."""
    return sum(not s.word.startswith(_FILLERS) for s in decoder.seg() or ())


def _in_detail(decoder: Any, pcm: bytes) -> list[Phone]:
    """Run the second pass: the words just heard, phone by phone."""
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
    filled = np.pad(samples, (0, max(0, _LEAST - len(samples))))
    return (np.clip(filled, -1, 1) * 32767).astype("<i2").tobytes()


def _plain(name: str) -> str:
    return "" if name == "SIL" or name.startswith(_FILLERS) else name


def _clipped(phones: Any, length_s: float) -> list[Phone]:
    cut = (Phone(p.start_s, min(p.end_s, length_s), p.name) for p in phones)
    return [p for p in cut if p.end_s > p.start_s]
