"""The images are built and run without a Docker daemon: hardened, and as the system of compose.yaml."""

import io
import json
import re
import time
import wave
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from image_builder import build, podman, skip_unless_images_can_be_built
from image_system import HARDENED, image_system
from moto_s3 import moto_s3
from own_postgres import own_database
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SPEECH = next((ROOT / "tests/assets").glob("sense*.wav"))
GAINS = iter((1.0, 0.9, 0.8, 0.7, 0.6))
"""A job renders nothing that was rendered before: each has speech of its own loudness."""


@pytest.fixture(scope="module")
def images():
    skip_unless_images_can_be_built()
    return build()


def inside(image, *command):
    """Return what a command in a hardened container of an image prints."""
    done = podman("run", "--rm", "--network=none", *HARDENED, "--volume=/home/musetalk/data", image, *command)
    return done.stdout


@pytest.mark.parametrize("target", ["api", "worker"])
def test_an_image_says_what_it_is_and_contains_no_build_files(images, target):
    (image,) = json.loads(podman("image", "inspect", images[target]).stdout)
    labels = image["Config"]["Labels"]
    left = inside(
        images[target],
        "sh",
        "-c",
        "ls -A /tmp /wheels /source /root/.cache 2>/dev/null; command -v gcc cc make || true",
    )

    assert labels["org.opencontainers.image.title"] == "musetalk-flows"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])
    assert image["Config"]["User"] == "10001"
    assert left.split() == ["/tmp:"]
    print(f"{target}: {image['Size'] / 1e6:.0f} MB")


def test_the_packages_of_an_image_require_nothing_that_is_missing(images):
    checked = inside(images["api"], "python", "-m", "pip", "check")
    # status 1: triton, a compiler for GPUs, is left out of an image without CUDA
    worker = inside(images["worker"], "sh", "-c", "python -m pip check || true")

    assert checked.strip() == "No broken requirements found."
    assert {line.split()[3] for line in worker.splitlines() if "not installed" in line} <= {"triton,"}


@pytest.mark.parametrize("target", ["api", "worker"])
def test_an_image_contains_a_list_of_its_packages(images, target):
    listed = json.loads(inside(images[target], "cat", "/usr/local/share/musetalk-flows.cdx.json"))
    installed = json.loads(inside(images[target], "python", "-m", "pip", "list", "--format=json"))

    assert listed["bomFormat"] == "CycloneDX"
    components = {canonicalize_name(one["name"]): one for one in listed["components"]}
    versions = {name: one["version"] for name, one in components.items()}
    assert versions == {canonicalize_name(one["name"]): one["version"] for one in installed}
    assert components["boto3"]["licenses"] and components["boto3"]["purl"].startswith("pkg:pypi/boto3@")


@pytest.mark.parametrize("target", ["api", "worker"])
def test_a_container_has_no_rights_and_writes_into_its_volume_only(images, target):
    tried = "id -u; grep CapEff /proc/self/status; touch /x /usr/x /home/musetalk/x; touch x && echo written"
    said = inside(images[target], "sh", "-c", f"({tried}) 2>&1")

    assert said.splitlines()[:2] == ["10001", "CapEff:\t0000000000000000"]
    assert said.count("Read-only file system") == 3 and said.endswith("written\n")


def test_a_data_folder_that_cannot_be_written_is_told_at_the_start(images):
    command = ("run", "--rm", "--network=none", *HARDENED, "--env=MUSETALK_API__KEYS=k", images["api"])
    done = podman(*command, "musetalk", "api", check=False, timeout=120)

    assert done.returncode not in (0, 137)
    assert "/home/musetalk/data" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def system(images, tmp_path_factory):
    """The system of compose.yaml, ready."""
    folder = tmp_path_factory.mktemp("system")
    with pytest.MonkeyPatch.context() as patch:
        # the host name s3.localhost is no bucket
        patch.setenv("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true")
        with own_database() as database, moto_s3("musetalk", "media") as s3:
            port = int(s3.meta.endpoint_url.rpartition(":")[2])
            with image_system(folder, images, database, port) as system:
                system.run("prefect")
                system.healthy("prefect")
                system.run("deploy")
                assert system.wait("deploy") == 0, system.log("deploy")
                for service in ("api", "worker", "light"):
                    system.run(service)
                for service in ("api", "worker", "light"):
                    system.healthy(service)
                system.s3 = s3
                yield system


@pytest.fixture(scope="module")
def api(system):
    port = system.namespace.bring_out(8080)
    key = {"Authorization": "Bearer test"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=key, timeout=60, trust_env=False
    ) as client:
        yield client


def read_wav(path):
    """Return the int16 samples and the sampling rate of a mono WAV file."""
    with wave.open(str(path)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16), sound.getframerate()


def write_wav(samples, rate):
    """Return int16 mono samples as a WAV file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", None))
        sound.writeframes(samples.tobytes())
    return data.getvalue()


def submit(system, api, video):
    """Submit a job on media in S3 and return its id."""
    gain = next(GAINS)
    samples, rate = read_wav(SPEECH)
    key = f"voice/{gain}.wav"
    system.s3.put_object(Bucket="media", Key=key, Body=write_wav((samples * gain).astype(np.int16), rate))
    job = {"type": "lip_sync", "video": video, "audio": f"s3://media/{key}", "engine": "viseme"}
    answer = api.post("/v1/jobs", json=job)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def finished(api, job, seconds=300):
    """Return a job once it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = api.get(f"/v1/jobs/{job}").json()
        except httpx.TransportError:
            found = {"status": "unknown"}
        if found["status"] in ("succeeded", "failed", "cancelled"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def stored_video(system, api, found):
    """Return the durations of picture and sound in seconds of a job's output, which is in the bucket."""
    video = api.get(f"/v1/jobs/{found['id']}/result").raise_for_status().content
    pages = system.s3.get_paginator("list_objects_v2").paginate(Bucket="musetalk")
    objects = [each for page in pages for each in page["Contents"] if each["Key"].endswith(".mp4")]
    stored = [
        system.s3.get_object(Bucket="musetalk", Key=each["Key"])["Body"].read()
        for each in objects
        if each["Size"] == len(video)
    ]
    assert video in stored, [each["Key"] for each in objects]
    with av.open(io.BytesIO(video)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        return float(picture.duration * picture.time_base), float(sound.duration * sound.time_base)


@pytest.fixture(scope="module")
def source(system):
    system.s3.upload_file(str(ROOT / "deployments/assets/astronaut.jpg"), "media", "people/astronaut.jpg")
    return "s3://media/people/astronaut.jpg"


def test_a_job_goes_from_s3_to_s3(system, api, source):
    found = finished(api, submit(system, api, source))

    assert found["status"] == "succeeded", found
    picture, sound = stored_video(system, api, found)
    assert picture > 2 and abs(picture - sound) <= 1 / 25


@pytest.mark.parametrize("service", ["worker", "light", "api", "prefect"])
def test_a_job_survives_the_death_of_a_container(system, api, source, service):
    job = submit(system, api, source)
    time.sleep(3)
    system.kill(service)
    system.start(service)
    system.healthy(service)

    found = finished(api, job)

    assert found["status"] == "succeeded", found
    picture, sound = stored_video(system, api, found)
    assert picture > 2 and abs(picture - sound) <= 1 / 25


def test_services_end_well_when_they_are_told_to(system):
    """The last test: nothing runs after it."""
    ended = {service: system.stop(service) for service in ("worker", "light", "api", "prefect")}

    assert (ended["api"], ended["prefect"]) == (0, 0)
    # 143: the command `prefect worker start` drains the worker, then ends by the signal itself
    assert {ended["worker"], ended["light"]} <= {0, 143}
