"""
Peak memory of transcribing long speech: `transcribe_memory.py [ENGINE ...] [MINUTES ...]`.

Without arguments: both engines, 1 and 10 minutes.

Decoding is greedy and without word timestamps, which is fastest; memory that grows with length still shows.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from figures import record
from peak_memory import run_measured
from transcribe import MAX_RECORDING_S, prepare_job, write_speech

ENGINES = ("openai-whisper", "ctranslate2")


def transcribe_once(minutes, engine):
    """Transcribe in this process; print time and memory as JSON."""
    from musetalk_core.transcription.decoding import DecodeOptions

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, work = prepare_job(folder, engine)
        path = write_speech(
            folder / "long.wav", 60 * minutes - MAX_RECORDING_S
        )  # stay within the limit of one hour
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        windows, began = [], time.monotonic()
        text = work(path, DecodeOptions(beam_size=1, words=False), lambda done, _: windows.append(done))
        print(
            json.dumps(
                {
                    "minutes": minutes,
                    "seconds": time.monotonic() - began,
                    "windows": len(windows),
                    "words": len(text.split()),
                    "before_mb": before,
                    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
                }
            )
        )


def main(engines=ENGINES, lengths=(1, 10)):
    return {engine: compare(engine, lengths) for engine in engines}


def compare(engine, lengths):
    """Transcribe sounds of several lengths, each in its own process; print and return the results."""
    results = [run_measured("transcribe_memory.py", "--one", minutes, engine) for minutes in lengths]
    for made in results:
        print(
            f"{engine}, {made['minutes']} min: peak {made['peak_mb']:.0f} MB"
            f" ({made['before_mb']:.0f} MB before), {made['windows']} windows,"
            f" {made['words']} words, {made['seconds']:.0f} s",
            flush=True,
        )
    growth = results[-1]["peak_mb"] - results[0]["peak_mb"]
    print(f"{engine}, difference: {growth:.0f} MB (bar: 50)", flush=True)
    named = engine.replace("-", "_")
    record(**{f"{named}_{made['minutes']}_min_mb": made["peak_mb"] for made in results})
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        transcribe_once(int(sys.argv[2]), sys.argv[3])
    else:
        named = tuple(word for word in sys.argv[1:] if word in ENGINES)
        minutes = tuple(int(word) for word in sys.argv[1:] if word.isdigit())
        main(named or ENGINES, minutes or (1, 10))
