"""Jobs whose results can be told apart: a portrait with a strip of one colour, and a tone of one pitch."""

import contextlib
import io
import subprocess
import time
import wave
from concurrent.futures import ThreadPoolExecutor

import av
import httpx
import numpy as np
from PIL import Image
from stage import ASSETS

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200)]
SIZE = 256
STRIP = 24
SECONDS = 0.4
RATE = 16_000
LOWEST_HZ, STEP_HZ = 300.0, 10.0
SUBMISSION_S = 600.0


def pitch_of(number):
    return LOWEST_HZ + STEP_HZ * number


def colour_of(number):
    return COLOURS[number % len(COLOURS)]


def put_inputs(s3, jobs):
    """Upload the portraits and tones of so many jobs."""
    face = Image.open(ASSETS / "astronaut.jpg").convert("RGB").resize((SIZE, SIZE))
    for number, colour in enumerate(COLOURS):
        picture = np.array(face)
        picture[:STRIP] = colour
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "PNG")
        s3.put_object(Bucket="media", Key=f"face-{number}.png", Body=out.getvalue())
    times = np.arange(round(SECONDS * RATE)) / RATE
    for number in range(jobs):
        out = io.BytesIO()
        with wave.open(out, "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            tone = 12_000 * np.sin(2 * np.pi * pitch_of(number) * times)
            sound.writeframes(tone.astype(np.int16).tobytes())
        s3.put_object(Bucket="media", Key=f"tone-{number:03}.wav", Body=out.getvalue())


def job_of(number, webhook):
    return {
        "video": f"s3://media/face-{number % len(COLOURS)}.png",
        "audio": f"s3://media/tone-{number:03}.wav",
        "engine": "fake",
        "encode": {"preset": "ultrafast"},
        "output": {"bucket": "renders", "prefix": "out", "name": f"job-{number:03}"},
        "control": {"notify": {"url": webhook}},
    }


def submit_all(urls, key, bodies, seconds, stop):
    """
    Submit jobs evenly over a time, each until one API has taken it; repeats go to the other one.

    Returns:
        The ids in the order of the jobs, and how often a submission was repeated.
    """
    started, repeats = time.monotonic(), []

    def submit(number):
        wait_s = started + seconds * number / len(bodies) - time.monotonic()
        if wait_s > 0:
            stop.wait(wait_s)
        tries, limit = number, time.monotonic() + SUBMISSION_S
        while not stop.is_set():
            with contextlib.suppress(httpx.TransportError):
                answer = client.post(
                    f"{urls[tries % len(urls)]}/v1/jobs/lip_sync",
                    json=bodies[number],
                    headers={"Idempotency-Key": f"chaos-{number}", "Authorization": f"Bearer {key}"},
                )
                if answer.status_code == 202:
                    return answer.json()["id"]
                assert answer.status_code >= 500, (answer.status_code, answer.text)
            tries += 1
            repeats.append(number)
            assert time.monotonic() < limit, f"no API took job {number}"
            time.sleep(0.5)
        raise RuntimeError("stopped")

    limits = httpx.Limits(max_connections=16)
    with httpx.Client(trust_env=False, timeout=20, limits=limits) as client, ThreadPoolExecutor(8) as pool:
        return list(pool.map(submit, range(len(bodies)))), len(repeats)


def fault_of(number, video):
    """Say what is wrong with the result of a job; empty for a right one."""
    with av.open(io.BytesIO(video)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate)
    shape = pictures[0].shape[:2]
    if shape != (SIZE, SIZE) or abs(len(pictures) - SECONDS * rate) > 1:
        return f"{len(pictures)} pictures of {shape} at {rate} Hz"
    strip = pictures[-1][4 : STRIP - 4].reshape(-1, 3).mean(axis=0)
    if np.abs(strip - colour_of(number)).max() > 30:
        return f"a strip of colour {strip.round()} instead of {colour_of(number)}"
    with av.open(io.BytesIO(video)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
        sound = np.concatenate([block.mean(axis=0) for block in blocks])
        hz = container.streams.audio[0].rate
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n=8 * hz))
    found = np.argmax(spectrum) / 8
    if abs(found - pitch_of(number)) > STEP_HZ / 3:
        return f"a tone of {found:.1f} Hz instead of {pitch_of(number)}"
    return ""


def wrong_results(s3, jobs):
    """Return what is wrong with the objects of so many jobs: missing, others', doubled."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="renders")
    names = {entry["Key"] for page in pages for entry in page.get("Contents", ())}
    wanted = {f"out/job-{number:03}.mp4" for number in range(jobs)}
    wrong = [f"{name}: missing" for name in sorted(wanted - names)]
    wrong += [f"{name}: not asked for" for name in sorted(names - wanted) if name.endswith(".mp4")]
    for number in range(jobs):
        if (name := f"out/job-{number:03}.mp4") in names:
            fault = fault_of(number, s3.get_object(Bucket="renders", Key=name)["Body"].read())
            wrong += [f"{name}: {fault}"] if fault else []
    return wrong


def can_make_namespaces():
    """Return whether this user may give a process a process namespace of its own."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
