"""Voice activity detection (VAD) with Silero's network through onnxruntime, in steps of 32 ms."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from musetalk_core.speech.samples import Samples
from musetalk_core.transcription.records import Span
from musetalk_core.types import SPEECH_RATE_HZ, Float

_STEP: Final = 512
"""Samples per step of the network at 16 kHz: 32 ms."""
_CONTEXT: Final = 64
"""Samples of the previous step that the network takes again."""
_BLOCK: Final = _STEP * 1024
"""Samples read at once: 33 s."""
_SPEECH, _SILENCE = 0.5, 0.35
"""Speech begins at the first probability and ends below the second. All thresholds are Silero's."""
_LEAST_SPEECH_S: Final = 0.25
_LEAST_SILENCE_S: Final = 0.1
_STEP_S: Final = _STEP / SPEECH_RATE_HZ


def speech_spans(
    samples: Samples, network: Any, on_seconds: Callable[[float], None] | None = None
) -> list[Span]:
    """
    Find the spans of speech; memory is independent of the length of the sound.

    Args:
        samples:     16 kHz mono.
        session:     the network from `load_vad`.
        on_progress: called every 33 s of sound with the seconds done.

    Returns:
        Spans of speech in order, without margins; silence and most music are not included.
    """
    spans: list[Span] = []
    began = quiet_since = -1.0
    at_s = 0.0
    for number, probability in enumerate(_probabilities(samples, network)):
        at_s = number * _STEP_S
        if on_seconds is not None and number % 1024 == 0:
            on_seconds(at_s)
        if probability >= _SPEECH:
            began, quiet_since = (at_s if began < 0 else began), -1.0
        elif began >= 0 and probability < _SILENCE:
            quiet_since = at_s if quiet_since < 0 else quiet_since
            if at_s - quiet_since >= _LEAST_SILENCE_S:
                spans += _long_enough(began, quiet_since)
                began = quiet_since = -1.0
    if began >= 0:
        spans += _long_enough(began, samples.count / SPEECH_RATE_HZ)
    return spans


def _long_enough(start: float, end: float) -> list[Span]:
    return [Span(start, end)] if end - start > _LEAST_SPEECH_S else []


def _probabilities(samples: Samples, session: Any) -> Iterator[float]:
    """Yield the probability of speech (0..1) for every 32 ms."""
    state: Float = np.zeros((2, 1, 128), np.float32)
    rate = np.array(SPEECH_RATE_HZ, np.int64)
    for start in range(0, samples.count, _BLOCK):
        stop = min(start + _BLOCK, -(-samples.count // _STEP) * _STEP)
        block = samples.read(start - _CONTEXT, stop)
        for first in range(0, stop - start, _STEP):
            piece = block[None, first : first + _CONTEXT + _STEP]
            heard, state = session.run(None, {"input": piece, "state": state, "sr": rate})
            yield float(heard[0, 0])


def load_network(path: Path) -> Any:
    """
    Load the network from `silero_vad.onnx`; several threads may share it.

    Returns:
        An onnxruntime session.
    """
    # onnxruntime's wheels send telemetry for every session; the variable is read once, at import
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  set for the library, not read
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    # the steps are sequential and small: more threads would not help
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
