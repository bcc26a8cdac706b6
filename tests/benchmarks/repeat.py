"""The same job repeated on a running stack: seconds from Running to Completed with all steps cached."""

import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx
from figures import record
from media import long_speech, talking_head

REPEATS = 5


def main(times=REPEATS):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, audio = talking_head(folder / "head.mp4", 5), long_speech(folder / "speech.wav", 5)
        up = [sys.executable, "-m", "deployments.cli", "up", "--home", folder / "home"]
        log = folder / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*map(str, up), "--port", "18080", "--prefect-port", "14200"], stdout=out, stderr=out
            )
        try:
            while "Ctrl-C stops" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            job_seconds = measure(video, audio, times)
        finally:
            process.terminate()
            process.wait(60)
        shutil.rmtree(folder / "home", ignore_errors=True)
    print(f"first: {job_seconds[0]:.1f} s; then: {', '.join(f'{s:.2f}' for s in job_seconds[1:])} s (bar: 2)")
    record(first_s=job_seconds[0], fastest_s=min(job_seconds[1:]), slowest_s=max(job_seconds[1:]))
    return job_seconds


def measure(video, audio, times):
    with httpx.Client(base_url="http://127.0.0.1:18080", timeout=60) as api:
        uris = [upload_asset(api, path) for path in (video, audio)]
        return [run_job_seconds(api, *uris) for _ in range(times + 1)]


def upload_asset(api, path):
    with path.open("rb") as file:
        answer = api.post("/v1/assets", files={"file": (path.name, file)}).raise_for_status().json()
    return answer["uri"]


def run_job_seconds(api, video, audio):
    job = {"video": video, "audio": audio, "engine": "viseme"}
    number = api.post("/v1/jobs/lip_sync", json=job).raise_for_status().json()["id"]
    while api.get(f"/v1/jobs/{number}").json()["status"] in {"queued", "running"}:
        time.sleep(0.2)
    run = httpx.get(f"http://127.0.0.1:14200/api/flow_runs/{number}").json()
    assert run["state_name"] == "Completed", run
    began, ended = (datetime.fromisoformat(run[name]) for name in ("start_time", "end_time"))
    return (ended - began).total_seconds()


if __name__ == "__main__":
    main()
