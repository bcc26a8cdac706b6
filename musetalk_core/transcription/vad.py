"""
Voice activity detection (VAD) and the clips to transcribe.

`detect_speech` runs Silero's network through onnxruntime in steps of 32 ms. `speech_clips` merges the spans
of speech into clips without long pauses.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from musetalk_core.formats.pcm import Samples
from musetalk_core.transcription.transcript import TimeSpan
from musetalk_core.types import SPEECH_RATE_HZ, Float

MIN_REMOVED_PAUSE_S: Final = 2.0
"""Pauses from this length on are removed; shorter ones improve recognition and cause no hallucinations."""
_SPEECH_MARGIN_S: Final = 0.4
"""Margin on either side of speech, in seconds, for soft onsets and endings."""
_STEP_SAMPLES: Final = 512
"""Samples per step of the network at 16 kHz: 32 ms."""
_CONTEXT_SAMPLES: Final = 64
"""Samples of the previous step that the network takes again."""
_BLOCK_SAMPLES: Final = _STEP_SAMPLES * 1024
"""Samples read at once: 33 s."""
_SPEECH_THRESHOLD, _SILENCE_THRESHOLD = 0.5, 0.35
"""Speech begins at the first probability and ends below the second. All thresholds are Silero's."""
_MIN_SPEECH_S: Final = 0.25
_MIN_SILENCE_S: Final = 0.1
_STEP_S: Final = _STEP_SAMPLES / SPEECH_RATE_HZ


def load_vad(path: Path) -> Any:
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


def detect_speech(
    samples: Samples, session: Any, on_progress: Callable[[float], None] | None = None
) -> list[TimeSpan]:
    """
    Find the spans of speech; memory is independent of the length of the sound.

    Args:
        samples:     16 kHz mono.
        session:     the network from `load_vad`.
        on_progress: called every 33 s of sound with the seconds done.

    Returns:
        Spans of speech in order, without margins; silence and most music are not included.
    """
    spans: list[TimeSpan] = []
    speech_start_s = silence_start_s = -1.0
    at_s = 0.0
    for number, probability in enumerate(_speech_probabilities(samples, session)):
        at_s = number * _STEP_S
        if on_progress is not None and number % 1024 == 0:
            on_progress(at_s)
        if probability >= _SPEECH_THRESHOLD:
            speech_start_s, silence_start_s = (at_s if speech_start_s < 0 else speech_start_s), -1.0
        elif speech_start_s >= 0 and probability < _SILENCE_THRESHOLD:
            silence_start_s = at_s if silence_start_s < 0 else silence_start_s
            if at_s - silence_start_s >= _MIN_SILENCE_S:
                spans += _span_if_long_enough(speech_start_s, silence_start_s)
                speech_start_s = silence_start_s = -1.0
    if speech_start_s >= 0:
        spans += _span_if_long_enough(speech_start_s, samples.count / SPEECH_RATE_HZ)
    return spans


def _span_if_long_enough(start: float, end: float) -> list[TimeSpan]:
    return [TimeSpan(start, end)] if end - start > _MIN_SPEECH_S else []


def _speech_probabilities(samples: Samples, session: Any) -> Iterator[float]:
    """Yield the probability of speech (0..1) for every 32 ms."""
    state: Float = np.zeros((2, 1, 128), np.float32)
    rate = np.array(SPEECH_RATE_HZ, np.int64)
    for start in range(0, samples.count, _BLOCK_SAMPLES):
        stop = min(start + _BLOCK_SAMPLES, -(-samples.count // _STEP_SAMPLES) * _STEP_SAMPLES)
        block = samples.read(start - _CONTEXT_SAMPLES, stop)
        for first in range(0, stop - start, _STEP_SAMPLES):
            step_input = block[None, first : first + _CONTEXT_SAMPLES + _STEP_SAMPLES]
            output, state = session.run(None, {"input": step_input, "state": state, "sr": rate})
            yield float(output[0, 0])


def speech_clips(speech: Sequence[TimeSpan], duration_s: float) -> list[TimeSpan]:
    """
    Merge spans of speech into the clips to transcribe.

    Args:
        speech:     spans of speech in order.
        duration_s: length of the sound in seconds.

    Returns:
        Clips in order, without overlap. Without long pauses, also at both ends, the whole sound is one clip.
        Empty if there is no speech.
    """
    out: list[TimeSpan] = []
    for span in speech:
        if out and span.start - out[-1].end < MIN_REMOVED_PAUSE_S:
            out[-1] = TimeSpan(out[-1].start, span.end)
        else:
            out.append(span)
    return [_add_margins(span, duration_s) for span in out]


def _add_margins(span: TimeSpan, duration_s: float) -> TimeSpan:
    start = span.start - _SPEECH_MARGIN_S if span.start >= MIN_REMOVED_PAUSE_S else 0.0
    end = span.end + _SPEECH_MARGIN_S if duration_s - span.end >= MIN_REMOVED_PAUSE_S else duration_s
    return TimeSpan(start, end)
