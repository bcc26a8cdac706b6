"""
Peak memory of transcribing long speech: `transcribe_memory.py [MINUTES ...]`, by default 1 and 10.

Decoding is greedy and without word timestamps, which is fastest; memory that grows with length still shows.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from peak_memory import run_measured
from transcribe import MAX_RECORDING_S, prepare_job, write_speech


def transcribe_once(minutes):
    """Transcribe in this process; print time and memory as JSON."""
    from musetalk_core.transcription.decoding import DecodeOptions

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, work = prepare_job(folder)
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


def main(lengths=(1, 10)):
    results = [run_measured("transcribe_memory.py", "--one", minutes) for minutes in lengths]
    for made in results:
        print(
            f"{made['minutes']} min: peak {made['peak_mb']:.0f} MB ({made['before_mb']:.0f} MB before),"
            f" {made['windows']} windows,"
            f" {made['words']} words, {made['seconds']:.0f} s"
        )
    print(f"difference: {results[-1]['peak_mb'] - results[0]['peak_mb']:.0f} MB (bar: 50)")
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        transcribe_once(int(sys.argv[2]))
    else:
        main(tuple(int(word) for word in sys.argv[1:] if word.isdigit()) or (1, 10))
