"""The starter voice (hibari-tts): English text to speech on the CPU, with the times of its phones."""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from musetalk_core.errors import InputError, ModelNotInstalled
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.visemes import letter_to_arpabet
from musetalk_core.types import VOICE_RATE_HZ, Float

RATE_HZ: Final = VOICE_RATE_HZ
SPEED_RANGE: Final = 0.5, 2.0
"""Slowest and fastest speed that the voice supports; 1.0 is normal."""

VOICE_NAME: Final = "heart"
"""The only voice in the package: American English, female."""
_MODEL_SHA256: Final = "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"
_DURATIONS_NODE: Final = "/Cast_32_output_0"
"""Node of the ONNX graph that holds the length of every letter, in units of `_DURATION_UNIT_S`."""
_DURATION_UNIT_S: Final = 0.025
_DURATION_LAG_S: Final = 0.05
"""Correction in seconds: the durations lag behind the sound by 40 to 70 ms (measured)."""
_SILENT_MARKS: Final = frozenset("ˈˌːʰʲ̃ ")
"""Stress and length marks and spaces, without sound; their time belongs to the next letter."""
_LONG_NUMBER: Final = re.compile(r"\d[\d,]{35,}")
_LONG_WORD: Final = re.compile(r"\S{50}(?=\S)")
_MAX_LETTERS: Final = 400
"""Maximum letters per piece; the memory of the network grows with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """
    Synthesized speech with its phones.

    Attributes:
        samples: (S,) float32 in -1..1, mono.
        rate:    sample rate in Hz.
        phones:  ARPABET phones ('' is silence) covering the whole length.
    """

    samples: Float
    rate: int
    phones: list[Phone]


class _Voice(NamedTuple):
    speaker: Any
    """hibari's object that converts text to letters (IPA) and letters to ids."""
    session: Any
    """onnxruntime session of the network, with the durations as an additional output."""
    synth: Any
    """hibari's function that turns the network's outputs into samples."""


_load_lock = threading.Lock()
_voice_cache: list[_Voice] = []


def synthesize(text: str, speed: float = 1.0, seed: int = 0, pause_s: float = 0.1) -> Utterance:
    """
    Synthesize a text as one utterance; for long texts, `synthesize_sentences` uses less memory.

    Args:
        text:    English text.
        speed:   0.5 (slow) .. 2.0 (fast).
        seed:    the same seed gives the same samples.
        pause_s: additional silence between sentences, in seconds.

    Raises:
        InputError: the text has no English words, or the speed is out of range.
        ModelNotInstalled: the package hibari-tts is missing or damaged.
    """
    utterances = list(synthesize_sentences(text, speed, seed, pause_s))
    phones: list[Phone] = []
    start_s = 0.0
    for utterance in utterances:
        phones += [Phone(p.start_s + start_s, p.end_s + start_s, p.name) for p in utterance.phones]
        start_s += len(utterance.samples) / RATE_HZ
    return Utterance(np.concatenate([utterance.samples for utterance in utterances]), RATE_HZ, phones)


def synthesize_sentences(
    text: str, speed: float = 1.0, seed: int = 0, pause_s: float = 0.1
) -> Iterator[Utterance]:
    """
    Synthesize a text sentence by sentence; each sentence is computed when it is requested.

    Args:
        text:    English text.
        speed:   0.5 (slow) .. 2.0 (fast).
        seed:    the same seed gives the same samples.
        pause_s: additional silence at the end of every sentence except the last, in seconds.

    Yields:
        One utterance per sentence (or per piece of a long one), with times from its own start.

    Raises:
        InputError: the text has no English words, or the speed is out of range; raised before the first
            utterance.
        ModelNotInstalled: the package hibari-tts is missing or damaged.
    """
    if not SPEED_RANGE[0] <= speed <= SPEED_RANGE[1]:
        raise InputError(f"The speed must be between {SPEED_RANGE[0]} and {SPEED_RANGE[1]}.", speed=speed)
    if not text.strip():
        raise InputError("The text to speak is empty.")
    voice, rng = _cached_voice(), np.random.default_rng(seed)
    pending: Utterance | None = None
    for letters in _phonemized_pieces(voice.speaker, text):
        if pending is not None:
            yield _append_pause(pending, pause_s)
        pending = _synthesize_piece(voice, letters, speed, rng)
    if pending is None:
        raise InputError("The text to speak contains no English words.")
    yield pending


def _cached_voice() -> _Voice:
    with _load_lock:
        if not _voice_cache:
            _voice_cache.append(_load_voice())
        return _voice_cache[0]


def _load_voice() -> _Voice:
    """Load the voice that is part of the package; hibari would download any other name, so none is passed."""
    # onnxruntime's wheels send telemetry for every session; the variable is read once, at import
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  set for the library, not read
    try:
        import onnx
        import onnxruntime
        from hibari import Hibari, dsp
    except ImportError as error:
        raise ModelNotInstalled(
            "The starter voice requires the package hibari-tts.", model=VOICE_NAME
        ) from error
    speaker: Any = Hibari(voice=VOICE_NAME, threads=2)
    content = Path(speaker.model_path).read_bytes()
    if hashlib.sha256(content).hexdigest() != _MODEL_SHA256:
        raise ModelNotInstalled(
            "The model file of the starter voice is damaged (wrong SHA-256); reinstall hibari-tts.",
            model=VOICE_NAME,
        )
    # the durations of the letters are an inner node: make it an output
    graph: Any = onnx.load_from_string(content)
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info(_DURATIONS_NODE, onnx.TensorProto.INT64, None)
    )
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 2, 1, 3
    # a thread that waits for the other one sleeps: spinning takes as much CPU time as the synthesis itself
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session: Any = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    speaker.sess = session  # releases hibari's own session, which has no durations
    return _Voice(speaker, session, dsp.synth)


def text_to_phonemes() -> tuple[Any, Any]:
    """
    Return hibari's G2P object and its text normalizer (`line -> line`), to convert text to phones.

    Raises:
        ModelNotInstalled: the package hibari-tts is missing or damaged.
    """
    from hibari.g2p import normalize

    def normalize_line(line: str) -> str:
        return normalize(make_pronounceable(line))

    return _cached_voice().speaker.g2p, normalize_line


def make_pronounceable(text: str) -> str:
    """
    Spell numbers of more than 36 digits digit by digit, and split words of more than 50 characters.

    hibari has no names for such numbers and raises IndexError; a word of symbols takes it quadratic time or
    worse.
    """
    spelled = _LONG_NUMBER.sub(lambda number: " ".join(number[0].replace(",", "")), text)
    return _LONG_WORD.sub(r"\g<0> ", spelled)


def _phonemized_pieces(speaker: Any, text: str) -> Iterator[str]:
    """Yield strings of letters (IPA), at most a sentence each; those without any sound are left out."""
    for sentence in speaker.split_sentences(make_pronounceable(text)):
        for letters in speaker.phonemize(sentence):
            for piece in _split_letters(letters):
                if any(letter_to_arpabet(letter) for letter in piece):
                    yield piece


def _split_letters(letters: str) -> Iterator[str]:
    """Split letters at spaces into pieces of at most `_MAX_LETTERS`; a longer word is split anywhere."""
    while len(letters) > _MAX_LETTERS:
        space = letters.rfind(" ", 1, _MAX_LETTERS)
        end = space if space > 0 else _MAX_LETTERS
        yield letters[:end]
        letters = letters[end:].lstrip()
    if letters:
        yield letters


def _synthesize_piece(voice: _Voice, letters: str, speed: float, rng: np.random.Generator) -> Utterance:
    """Synthesize one piece; letters outside the voice's vocabulary are left out."""
    known_letters = re.sub(f"[^{re.escape(''.join(voice.speaker.vocab))}]", "", letters)
    ids = np.array([voice.speaker.ids(known_letters)], np.int64)
    names = ["lh", "theta", "ln", "lr", "phi", "f0", _DURATIONS_NODE]
    *shapes, units = voice.session.run(names, {"ids": ids, "speed": np.array([speed], np.float32)})
    samples = np.asarray(voice.synth(*(output[0] for output in shapes), rng), np.float32)
    return Utterance(
        samples,
        RATE_HZ,
        _phones_from_durations(known_letters, units.ravel().tolist(), len(samples) / RATE_HZ),
    )


def _phones_from_durations(letters: str, units: list[int], length_s: float) -> list[Phone]:
    """
    Convert the length of every letter to phones that cover the whole length.

    Args:
        letters:  the L letters of the piece.
        units:    L + 2 lengths in 25 ms, the first and last of the padding.
        length_s: length of the samples in seconds.
    """
    out: list[Phone] = []
    start = end = 0
    for letter, length in zip(f"\0{letters}\0", units, strict=True):
        end += length
        if letter in _SILENT_MARKS:
            continue
        start_s, end_s = (
            min(max(0.0, units_at * _DURATION_UNIT_S - _DURATION_LAG_S), length_s)
            for units_at in (start, end)
        )
        out.append(Phone(start_s, end_s, letter_to_arpabet(letter) or ""))
        start = end
    out[-1] = out[-1]._replace(end_s=length_s)
    return _merge_silences(out)


def _merge_silences(phones: list[Phone]) -> list[Phone]:
    """Merge consecutive silences and drop phones without length."""
    out: list[Phone] = []
    for phone in phones:
        if phone.end_s <= phone.start_s:
            continue
        if out and not phone.name and not out[-1].name:
            out[-1] = out[-1]._replace(end_s=phone.end_s)
        else:
            out.append(phone)
    return out


def _append_pause(utterance: Utterance, pause_s: float) -> Utterance:
    silence = np.zeros(round(max(0.0, pause_s) * RATE_HZ), np.float32)
    start_s = len(utterance.samples) / RATE_HZ
    phones = [*utterance.phones, Phone(start_s, start_s + len(silence) / RATE_HZ, "")]
    return Utterance(np.concatenate([utterance.samples, silence]), RATE_HZ, _merge_silences(phones))
