"""The examples for clients of the older services, run as their readers run them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(name, *words, **variables):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | variables,
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


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_without_its_arguments_says_which_it_takes(name):
    status, out, told = run(name)
    assert (status, out) == (2, "")
    assert told.startswith(f"usage: {name} ") and "the following arguments are required" in told


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("c3_render_client.py", (NOWHERE, "Hello.")),
        ("c3_render_client.py", ("no-address", "Hello.")),
        ("musetalk_s3_client.py", (NOWHERE, "s3://media/a.mp4", "s3://media/a.wav")),
        ("voice_studio.py", ("s3://media/a.mp4", "s3://media/a.wav", "media")),
    ],
)
def test_an_example_that_reaches_no_server_says_so_in_one_line(name, words):
    status, _, told = run(name, *words, PREFECT_API_URL=NOWHERE, PREFECT_CLIENT_MAX_RETRIES="0")
    assert status == 1 and "Traceback" not in told
    assert f"{words[0] if words[0] == 'no-address' else NOWHERE} cannot be used: " in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("c3_render_client.py", ("",), "text cannot be empty"),
        ("musetalk_s3_client.py", ("hello.mp4", "s3://media/a.wav"), "A plain path is not a media reference"),
    ],
)
def test_an_example_prints_why_the_server_refuses(server, name, words, reason):
    status, _, told = run(name, server, *words)
    assert status == 1 and " answered 400: " in told and reason in told and "Traceback" not in told
