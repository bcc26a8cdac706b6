"""
Transcription of speech of any length with Whisper, window by window.

openai-whisper's `transcribe` requires the whole sound and its spectrogram in memory and reports no progress.
This module runs the same loop over a file on disk, with progress after each window and cancellation within
it. Decoding and word timestamps are the engine's (`WindowModel`). A test checks that with openai-whisper both
loops give the same lines and times.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from whisper.decoding import DecodingResult
from whisper.utils import get_end

from musetalk_core.formats.pcm import Samples, duration_seconds
from musetalk_core.transcription.decoding import MAX_PROMPT_TOKENS, DecodeOptions, Decoder
from musetalk_core.transcription.spectrogram import FRAME_SAMPLES, FRAMES_PER_S, WINDOW_FRAMES, Spectrogram
from musetalk_core.transcription.transcript import Language, Segment, TimeSpan, Transcript, Word
from musetalk_core.transcription.window_model import DECODE_LOCK, Check, WindowModel

OnProgress = Callable[[float, float], None]
"""Called after every window with the seconds done and the total; an exception it raises aborts the work."""

_MIN_ADVANCE_S: Final = 2.0
"""Least mean distance in seconds between the starts of a clip's windows; see `_max_windows`."""
_EXTRA_WINDOWS: Final = 4
_FRAMES_PER_TIME_STEP: Final = 2
"""Spectrogram frames per step of the timestamp tokens: 20 ms."""
_MAX_PROMPT_TEMPERATURE: Final = 0.5
"""Text sampled at a higher temperature is not used as prompt for the next window."""


def transcribe(
    samples: Samples,
    clips: Sequence[TimeSpan],
    whisper_model: WindowModel,
    language: str | None,
    options: DecodeOptions,
    on_progress: OnProgress | None = None,
    check: Check = lambda: None,
) -> Transcript:
    """
    Transcribe the clips of a sound. The work is bounded by the length of the clips.

    Args:
        samples:       16 kHz mono; read window by window, twice.
        clips:         parts to transcribe, in order and without overlap; see `speech_clips`.
        whisper_model: the loaded model.
        language:      code of the spoken language; None: detect it in the first window of speech.
        options:       decoding options.
        on_progress:   called after every window.
        check:         see `Check`.

    Returns:
        The transcript, with times from the start of the sound.
    """
    duration_s = duration_seconds(samples)
    if not clips or samples.count < FRAME_SAMPLES:
        return Transcript.without_speech(duration_s, language)
    spectrogram = Spectrogram(samples, whisper_model.mels, check)
    spans = [(round(clip.start * FRAMES_PER_S), round(clip.end * FRAMES_PER_S)) for clip in clips]
    segments: list[Segment] = []
    spoken_language = (
        Language(language)
        if language
        else _detect_spoken_language(spectrogram, spans[0][0], whisper_model, check)
    )
    state = _TranscriptionState(spectrogram, Decoder(whisper_model, spoken_language.code, options, check))
    for start, stop in spans:
        for new_segments, next_frame in state.transcribe_clip(start, min(stop, spectrogram.frames)):
            segments += new_segments
            if on_progress is not None:
                on_progress(min(next_frame / FRAMES_PER_S, duration_s), duration_s)
    return Transcript(tuple(segments), spoken_language, tuple(clips), duration_s)


def _detect_spoken_language(
    spectrogram: Spectrogram, start: int, whisper_model: WindowModel, check: Check
) -> Language:
    window = whisper_model.prepare(spectrogram.window(start, min(start + WINDOW_FRAMES, spectrogram.frames)))
    with DECODE_LOCK:
        return whisper_model.detect_language(window, check)


@dataclass(slots=True, eq=False)
class _TranscriptionState:
    """State that is carried from window to window: the prompt and the end of the last word, in seconds."""

    spectrogram: Spectrogram
    decoder: Decoder
    prompt: list[int] = field(default_factory=list[int])
    last_word_s: float = 0.0

    def transcribe_clip(self, start: int, stop: int) -> Iterator[tuple[list[Segment], int]]:
        """Transcribe frames `start` to `stop`; yield each window's segments and the next window's frame."""
        frame, windows_left = start, _max_windows(stop - start)
        while frame < stop:
            length = min(WINDOW_FRAMES, stop - frame)
            window = self.decoder.model.prepare(self.spectrogram.window(frame, frame + length))
            with DECODE_LOCK:
                segments, next_frame = self._transcribe_window(window, frame, length, windows_left > 0)
            windows_left -= 1
            # always advance, whatever the model returns
            frame = next_frame if next_frame > frame and windows_left >= 0 else frame + length
            yield segments, frame

    def _transcribe_window(
        self, window: Any, frame: int, length: int, may_retry: bool
    ) -> tuple[list[Segment], int]:
        result = self.decoder.decode(window, self.prompt, length / FRAMES_PER_S, may_retry=may_retry)
        if result is None:
            return [], frame + length
        tokenizer = self.decoder.tokenizer
        lines, next_frame, is_finished = _split_at_time_tokens(
            result, tokenizer.timestamp_begin, frame, length
        )
        for line in lines:
            line["text"] = tokenizer.decode([token for token in line["tokens"] if token < tokenizer.eot])
        if self.decoder.options.words:
            next_frame = self._add_word_times(
                lines, window, frame, length, None if is_finished else next_frame
            )
        kept = [line for line in lines if line["start"] != line["end"] and line["text"].strip()]
        new_tokens = [token for line in kept for token in line["tokens"]]
        self.prompt = (
            []
            if result.temperature > _MAX_PROMPT_TEMPERATURE
            else (self.prompt + new_tokens)[-MAX_PROMPT_TOKENS:]
        )
        return [_to_segment(line, result) for line in kept], next_frame

    def _add_word_times(
        self,
        lines: list[dict[str, Any]],
        window: Any,
        frame: int,
        length: int,
        next_frame: int | None,
    ) -> int:
        """
        Add word timestamps to lines.

        Args:
            lines:      lines of the window; each gets `words`.
            window:     from the model's `prepare`.
            frame:      first frame of the window.
            length:     frames of the window.
            next_frame: first frame of the next window by the timestamp tokens; None: the end of this window.

        Returns:
            First frame of the next window: after the last word, if there is one.
        """
        decoder = self.decoder
        decoder.model.add_word_times(
            lines, window, decoder.tokenizer, length, self.last_word_s, decoder.check
        )
        self.last_word_s = get_end(lines) or self.last_word_s
        if next_frame is None:
            return frame + length
        return (
            round(self.last_word_s * FRAMES_PER_S) if self.last_word_s > frame / FRAMES_PER_S else next_frame
        )


def _max_windows(frames: int) -> int:
    """
    Return the number of windows after which a clip is read in whole windows, without further attempts.

    A model that returns only a few milliseconds of text per window would otherwise decode a short clip
    hundreds of times.
    """
    return _EXTRA_WINDOWS + ceil(frames / FRAMES_PER_S / _MIN_ADVANCE_S)


def _split_at_time_tokens(
    result: DecodingResult, first_time: int, frame: int, length: int
) -> tuple[list[dict[str, Any]], int, bool]:
    """
    Split a window's tokens into lines at its timestamp tokens.

    Args:
        result:     result of the decoder.
        first_time: the token for 0.00 s.
        frame:      first frame of the window.
        length:     frames of the window.

    Returns:
        Lines in the form that the library's `add_word_timestamps` accepts; the first frame of the next
        window; whether the window is complete, so that the next one begins at its end.
    """
    tokens, offset_s = result.tokens, frame / FRAMES_PER_S
    is_time = [token >= first_time for token in tokens]
    ends_in_silence = is_time[-2:] == [False, True]
    cuts = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]

    def seconds_at(token: int) -> float:
        return (token - first_time) * _FRAMES_PER_TIME_STEP / FRAMES_PER_S

    def line(start_s: float, end_s: float, line_tokens: list[int]) -> dict[str, Any]:
        return {"seek": frame, "start": offset_s + start_s, "end": offset_s + end_s, "tokens": line_tokens}

    if not cuts:
        times = [token for token in tokens if token >= first_time]
        end_s = seconds_at(times[-1]) if times and times[-1] != first_time else length / FRAMES_PER_S
        return [line(0.0, end_s, tokens)], frame + length, ends_in_silence
    cuts += [len(tokens)] if ends_in_silence else []
    groups = [tokens[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False)]
    lines = [line(seconds_at(group[0]), seconds_at(group[-1]), group) for group in groups]
    next_frame = (
        frame + length if ends_in_silence else frame + (groups[-1][-1] - first_time) * _FRAMES_PER_TIME_STEP
    )
    return lines, next_frame, ends_in_silence


def _to_segment(line: dict[str, Any], result: DecodingResult) -> Segment:
    words = [
        Word(str(w["word"]).strip(), float(w["start"]), float(w["end"]), float(w["probability"]))
        for w in line.get("words", [])
    ]
    return Segment(
        start=round(float(line["start"]), 3),
        end=round(float(line["end"]), 3),
        text=str(line["text"]).strip(),
        avg_logprob=float(result.avg_logprob),
        no_speech_prob=float(result.no_speech_prob),
        compression_ratio=float(result.compression_ratio),
        temperature=float(result.temperature),
        words=tuple(words) if "words" in line else None,
    )
