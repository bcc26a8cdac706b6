"""The wheel in an environment of its own, built and installed by the very lines of the Dockerfile."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest
from image_files import stages
from typer.main import get_command

from deployments.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
STAGES = stages()


def installation(stage):
    """The shell lines of a stage that call pip."""
    lines = [re.sub(r"--mount=\S+ | && /sbom/.*", "", line) for line in STAGES[stage].all("RUN")]
    return [line for line in lines if line.startswith("pip install")]


def run(line, folder, python, **options):
    """Run a line of the Dockerfile with /source, /wheels and /tmp replaced by temporary folders."""
    for there in ("/tmp/wheels", "/tmp/constraints.txt"):
        line = line.replace(there, f"{folder}/{Path(there).name}")
    line = line.replace("--outdir /wheels", f"--outdir {folder}/wheels")
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", line], env=clean() | {"PATH": path}, check=True, timeout=900, **options)


def clean(**variables):
    """An environment without anything of the checkout's."""
    ours = ("MUSETALK_", "PREFECT_", "PYTHON", "API_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) and name != "PORT"}
    return kept | {"DO_NOT_TRACK": "1"} | variables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("image")


@pytest.fixture(scope="module")
def builder(folder):
    """The python of an environment that has built our wheel as the image does, and nothing else."""
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    newest = [python, "-m", "pip", "install", "--quiet", "-U", "pip"]
    if subprocess.run(newest, timeout=300).returncode:
        pytest.skip("no package index answers")
    (folder / "constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
    source = folder / "source"
    source.mkdir()
    for rest in STAGES["wheel"].all("COPY"):
        *names, target = rest.split()
        for name in names:
            place = source if target == "./" else source / target
            copy = ["cp", "-r", ROOT / name, place]
            subprocess.run(copy, check=True)
    (build,) = installation("wheel")
    run(build, folder, python, cwd=source)
    shutil.rmtree(source)
    return python


@pytest.fixture(scope="module")
def python(builder, folder):
    """The python of an environment that has what the image `api` has, and nothing of the checkout."""
    for line in installation("api"):
        run(line, folder, builder, cwd=folder)
    return builder


@pytest.fixture(scope="module")
def musetalk(python, folder):
    """Run the installed command in an empty folder, with what it says."""
    (folder / "empty").mkdir(exist_ok=True)

    def musetalk(*words, **variables):
        env = clean(MUSETALK_HOME=str(folder / "home"), COLUMNS="200", **variables)
        return subprocess.run(
            [python.with_name("musetalk"), *words],
            env=env,
            cwd=folder / "empty",
            capture_output=True,
            text=True,
            timeout=120,
        )

    return musetalk


def test_the_wheel_holds_what_the_packages_hold(builder, folder):
    (wheel,) = (folder / "wheels").glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    known = ["git", "ls-files", "--", *packages["wheel"]["packages"]]
    listed = subprocess.run(known, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    assert set(listed) - inside == set()
    assert "deployments/prefect.yaml" in inside
    assert any(name.startswith("deployments/assets/") for name in inside)


@pytest.mark.slow
def test_the_api_s_environment_is_whole_and_has_no_torch(python):
    ask = (
        "import importlib.util as u; print(*[n for n in ('torch','ai_edge_litert','cv2') if u.find_spec(n)])"
    )
    found = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=True)
    origin = "import api, deployments, flows, tasks, musetalk_core as m; print(m.__file__)"
    ours = subprocess.run([python, "-I", "-c", origin], capture_output=True, text=True, check=True)
    conflicts = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True).stdout

    assert found.stdout.split() == ["ai_edge_litert", "cv2"]
    assert Path(ours.stdout.strip()).is_relative_to(python.parents[1])
    assert conflicts.strip() == "No broken requirements found."


def commands(found=None, words=()):
    found = found or get_command(app)
    yield words
    for name, inner in getattr(found, "commands", {}).items():
        yield from commands(inner, (*words, name))


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself(musetalk, words):
    done = musetalk(*words, "--help")

    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


@pytest.mark.slow
def test_what_is_deployed_is_read_from_the_wheel(python, folder):
    ask = (
        "from deployments.manifest import *; print(deployments_file(), *{d.pool for d in load_deployments()})"
    )
    done = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=True, cwd=folder)
    path, *pools = done.stdout.split()

    assert Path(path).is_relative_to(python.parents[1])
    assert set(pools) == {"gpu", "light"}


@pytest.mark.slow
def test_prefect_finds_the_worker_type_of_the_wheel(python, folder):
    ask = (
        "from prefect.plugins import load_prefect_collections; load_prefect_collections();"
        "from prefect.workers.base import BaseWorker as Base;"
        "print(Base.get_worker_class_from_type('warm-process'))"
    )
    env = clean(MUSETALK_HOME=str(folder / "home"))
    done = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, env=env, cwd=folder)

    assert "deployments.warm_worker.worker.WarmWorker" in done.stdout, done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(python, folder, port, **variables):
    """`musetalk api` in an empty folder, once it answers."""
    (folder / "empty").mkdir(exist_ok=True)
    env = clean(
        MUSETALK_HOME=str(folder / "home"), PREFECT_API_URL=f"http://127.0.0.1:{free_port()}/api", **variables
    )
    log = folder / "api.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python.with_name("musetalk"), "api"], env=env, cwd=folder / "empty", stdout=out, stderr=out
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
                    break
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            assert answer.status_code == 200
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MUSETALK_API__PORT", "API_PORT", "PORT"])
def test_the_api_serves_on_the_port_it_is_given_and_leaves_when_asked(python, folder, name):
    port = free_port()
    with serving(python, folder, port, **{name: str(port)}) as process:
        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0
    assert list((folder / "empty").iterdir()) == []


def scheduled(url):
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return httpx.post(f"{url}/flow_runs/count", json=wanted, trust_env=False).json()


@pytest.mark.slow
def test_a_server_plans_what_runs_by_the_clock(python, musetalk, folder):
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    words = [python.with_name("musetalk"), "server", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as out:
        env = clean(MUSETALK_HOME=str(folder / "server"))
        server = subprocess.Popen(words, env=env, cwd=folder / "empty", stdout=out, stderr=out)
    try:
        done = musetalk("deploy", PREFECT_API_URL=url)  # waits for the server
        assert done.returncode == 0, done.stderr + log.read_text()
        assert "created deployment janitor/Housekeeping: maintenance" in done.stdout
        deadline = time.monotonic() + 30
        while not scheduled(url):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
    finally:
        server.kill()
        server.wait()
