"""The examples for clients of the older services, run as their readers run them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(name, *words):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr


def test_a_client_of_the_musetalk_s3_api_gets_its_video(server, runs, finish):
    runs.on_create = finish

    status, out, _ = run("musetalk_s3_client.py", server, "s3://media/anna.mp4", "s3://media/hello.wav")

    [(_, job, _)] = runs.created
    assert (job.video, job.audio) == ("s3://media/anna.mp4", "s3://media/hello.wav")
    assert status == 0 and out.startswith(f"Inference completed successfully {server}/v1/downloads/")


def test_a_client_of_the_c3_render_api_gets_its_speech(server, runs, finish):
    def spoken(made):
        done = finish(made, name="speech.mp3")
        return replace(done, result={**done.result, "audio": done.result["video"], "video": None})

    runs.on_create = spoken
    status, out, _ = run("c3_render_client.py", server, "Hello there.")

    assert status == 0 and out.startswith(f"{server}/v1/downloads/") and "/speech.mp3?expires=" in out
    assert runs.controls[0].max_time == 600


def test_a_client_of_the_c3_render_api_is_told_why_not(server, runs):
    runs.on_create = lambda made: replace(runs.failed("gpu_oom", "Too big."), id=made.id)
    status, _, told = run("c3_render_client.py", server, "Hello there.")

    assert status == 1 and "failed: Too big." in told
