"""
Transcription of speech of any length with Whisper, window by window.

openai-whisper's `transcribe` requires the whole sound and its spectrogram in memory and reports no progress.
This module runs the same loop over a file on disk, with progress and cancellation after each window. Decoding
and word timestamps are the library's; a test checks that both give the same lines and times.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from whisper.decoding import DecodingResult
from whisper.timing import add_word_timestamps
from whisper.utils import get_end

from musetalk_core.speech.samples import Samples, seconds
from musetalk_core.transcription.decoding import PROMPT_TOKENS, Decoder, Options, detect_language, ready
from musetalk_core.transcription.network import TURN, Hearing
from musetalk_core.transcription.records import Language, Segment, Span, Transcript, Word
from musetalk_core.transcription.spectrogram import FRAME_SAMPLES, FRAMES_PER_S, WINDOW_FRAMES, Spectrogram

OnSeconds = Callable[[float, float], None]
"""Called after every window with the seconds done and the total; an exception it raises aborts the work."""

_STRIDE: Final = 2
"""Spectrogram frames per step of the timestamp tokens: 20 ms."""
_HOT: Final = 0.5
"""Text sampled at a higher temperature is not used as prompt for the next window."""


def listen(
    samples: Samples,
    clips: Sequence[Span],
    hearing: Hearing,
    language: str | None,
    options: Options,
    on_seconds: OnSeconds | None = None,
) -> Transcript:
    """
    Transcribe the clips of a sound.

    Args:
        samples:       16 kHz mono; read window by window, twice.
        clips:         parts to transcribe, in order and without overlap; see `speech_clips`.
        whisper_model: the loaded model.
        language:      code of the spoken language; None: detect it in the first window of speech.
        options:       decoding options.
        on_progress:   called after every window.

    Returns:
        The transcript, with times from the start of the sound.
    """
    duration_s = seconds(samples)
    if not clips or samples.count < FRAME_SAMPLES:
        return Transcript.of_nothing(duration_s, language)
    heard = Spectrogram(samples, hearing.net.dims.n_mels)
    spans = [(round(clip.start * FRAMES_PER_S), round(clip.end * FRAMES_PER_S)) for clip in clips]
    spoken = Language(language) if language else _detected(heard, spans[0][0], hearing)
    run = _Run(heard, Decoder(hearing, spoken.code, options))
    segments: list[Segment] = []
    for start, stop in spans:
        for new, at in run.clip(start, min(stop, heard.frames)):
            segments += new
            if on_seconds is not None:
                on_seconds(min(at / FRAMES_PER_S, duration_s), duration_s)
    return Transcript(tuple(segments), spoken, tuple(clips), duration_s)


def _detected(heard: Spectrogram, start: int, hearing: Hearing) -> Language:
    window = ready(heard.window(start, min(start + WINDOW_FRAMES, heard.frames)), hearing)
    with TURN:
        return detect_language(window, hearing)


@dataclass(slots=True, eq=False)
class _Run:
    """State that is carried from window to window: the prompt and the end of the last word, in seconds."""

    heard: Spectrogram
    decoder: Decoder
    prompt: list[int] = field(default_factory=list[int])
    last_word_s: float = 0.0

    def clip(self, start: int, stop: int) -> Iterator[tuple[list[Segment], int]]:
        """Transcribe frames `start` to `stop`; yield each window's segments and the next window's frame."""
        at = start
        while at < stop:
            length = min(WINDOW_FRAMES, stop - at)
            window = ready(self.heard.window(at, at + length), self.decoder.hearing)
            with TURN:
                segments, then = self._window(window, at, length)
            at = then if then > at else at + length  # always advance, whatever the model returns
            yield segments, at

    def _window(self, window: torch.Tensor, at: int, length: int) -> tuple[list[Segment], int]:
        result = self.decoder.decode(window, self.prompt)
        if result is None:
            return [], at + length
        tokenizer = self.decoder.tokenizer
        lines, then, is_finished = _lines(result, tokenizer.timestamp_begin, at, length)
        for line in lines:
            line["text"] = tokenizer.decode([token for token in line["tokens"] if token < tokenizer.eot])
        if self.decoder.options.words:
            then = self._time_words(lines, window, at, length, None if is_finished else then)
        kept = [line for line in lines if line["start"] != line["end"] and line["text"].strip()]
        said = [token for line in kept for token in line["tokens"]]
        self.prompt = [] if result.temperature > _HOT else (self.prompt + said)[-PROMPT_TOKENS:]
        return [_segment(line, result) for line in kept], then

    def _time_words(
        self, lines: list[dict[str, Any]], window: torch.Tensor, at: int, length: int, then: int | None
    ) -> int:
        """
        Add word timestamps to lines.

        Args:
            lines:      lines of the window; each gets `words`.
            window:     (mels, 3000) from `prepare_window`.
            frame:      first frame of the window.
            length:     frames of the window.
            next_frame: first frame of the next window by the timestamp tokens; None: the end of this window.

        Returns:
            First frame of the next window: after the last word, if there is one.
        """
        add_word_timestamps(
            segments=lines,
            model=self.decoder.net,
            tokenizer=self.decoder.tokenizer,
            mel=window,
            num_frames=length,
            last_speech_timestamp=self.last_word_s,
        )
        self.last_word_s = get_end(lines) or self.last_word_s
        if then is None:
            return at + length
        return round(self.last_word_s * FRAMES_PER_S) if self.last_word_s > at / FRAMES_PER_S else then


def _lines(
    result: DecodingResult, first_time: int, at: int, length: int
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
    tokens, offset_s = result.tokens, at / FRAMES_PER_S
    is_time = [token >= first_time for token in tokens]
    ends_in_silence = is_time[-2:] == [False, True]
    cuts = [i for i in range(1, len(tokens)) if is_time[i - 1] and is_time[i]]

    def seconds_at(token: int) -> float:
        return (token - first_time) * _STRIDE / FRAMES_PER_S

    def line(start_s: float, end_s: float, said: list[int]) -> dict[str, Any]:
        return {"seek": at, "start": offset_s + start_s, "end": offset_s + end_s, "tokens": said}

    if not cuts:
        times = [token for token in tokens if token >= first_time]
        end_s = seconds_at(times[-1]) if times and times[-1] != first_time else length / FRAMES_PER_S
        return [line(0.0, end_s, tokens)], at + length, ends_in_silence
    cuts += [len(tokens)] if ends_in_silence else []
    pieces = [tokens[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False)]
    lines = [line(seconds_at(piece[0]), seconds_at(piece[-1]), piece) for piece in pieces]
    then = at + length if ends_in_silence else at + (pieces[-1][-1] - first_time) * _STRIDE
    return lines, then, ends_in_silence


def _segment(line: dict[str, Any], result: DecodingResult) -> Segment:
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
