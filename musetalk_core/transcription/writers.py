"""Writers of transcripts: plain text, SRT and WebVTT subtitles, TSV table, and JSON with all values."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from whisper.utils import WriteSRT, WriteTSV, WriteTXT, WriteVTT

from musetalk_core.transcription.transcript import Segment, Transcript

_WRITERS: Final = {"txt": WriteTXT, "srt": WriteSRT, "vtt": WriteVTT, "tsv": WriteTSV}


def write_transcript(transcript: Transcript, folder: Path, facts: Mapping[str, Any]) -> None:
    """
    Write `transcript.txt`, `.srt`, `.vtt`, `.tsv` as the `whisper` command does, and `.json` with all values.

    Args:
        transcript: the transcript.
        folder:     existing folder for the files.
        facts:      additional members of the JSON, such as the name of the model.
    """
    lines = {
        "segments": [{"start": s.start, "end": s.end, "text": s.text} for s in transcript.segments],
    }
    for extension, writer in _WRITERS.items():
        with (folder / f"transcript.{extension}").open("w", encoding="utf-8") as file:
            writer("").write_result(lines, file=file)
    content = json.dumps(transcript_document(transcript, facts), ensure_ascii=False, indent=1)
    (folder / "transcript.json").write_text(content, encoding="utf-8")


def transcript_document(transcript: Transcript, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON document of a transcript, with all values and `facts`."""
    language = transcript.language
    return {
        "text": transcript.text,
        "language": language.code if language else None,
        "language_probability": _round_or_none(language.probability if language else None),
        "duration_s": round(transcript.duration_s, 3),
        "confidence": _round_or_none(transcript.confidence),
        **facts,
        "segments": [_segment_record(number, segment) for number, segment in enumerate(transcript.segments)],
        "speech": [{"start": round(s.start, 3), "end": round(s.end, 3)} for s in transcript.speech],
    }


def _segment_record(number: int, segment: Segment) -> dict[str, Any]:
    record = {"id": number, **asdict(segment), "confidence": segment.confidence}
    for name in ("avg_logprob", "no_speech_prob", "compression_ratio", "temperature", "confidence"):
        record[name] = _round_or_none(record[name])
    if segment.words is not None:
        record["words"] = [
            {**asdict(word), "probability": _round_or_none(word.probability)} for word in segment.words
        ]
    return record


def _round_or_none(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
