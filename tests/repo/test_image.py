"""The Dockerfile and the compose file say what the programs in them understand."""

import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from image_files import command, compose, environment, stages
from typer.main import get_command

from deployments.cli.main import app
from flows.registry import FLOWS
from tasks.settings import Settings
from tasks.settings.env_example import env_example

ROOT = Path(__file__).resolve().parents[2]
SECRETS = dict.fromkeys(("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "API_KEYS"), "a1b2")
SERVICES = compose(**SECRETS)["services"]
OURS = {name: service for name, service in SERVICES.items() if "musetalk-flows" in service["image"]}
STAGES = stages()
IMAGES = {name: STAGES[name] for name in ("api", "worker", "all")}


def all_environment(name):
    """Return the environment of a service's process: the image's variables, overridden by the service's."""
    service = OURS[name]
    return environment(IMAGES[service["build"]["target"]]) | service["environment"]


def settings_with(monkeypatch, variables):
    for name in [name for name in os.environ if name.startswith("MUSETALK_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return Settings()


def known_options(words):
    """The options of the musetalk command that a command line starts with; fails when there is none."""
    found = get_command(app)
    for word in words:
        if word.startswith("-"):
            break
        found = found.commands[word]
    return {option for parameter in found.params for option in parameter.opts}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_every_package_and_runs_as_nobody_special(name):
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["packages"]
    copied = {rest.split()[0] for rest in STAGES["wheel"].all("COPY")}
    allowed = (ROOT / ".dockerignore").read_text().splitlines()

    assert set(packages) <= copied
    assert all(f"!{package}" in allowed for package in packages)
    uid = IMAGES[name].all("USER")[-1]
    assert uid.isdecimal() and f"--uid {uid} " in " ".join(IMAGES[name].all("RUN"))
    assert "org.opencontainers.image.licenses" in " ".join(IMAGES[name].all("LABEL"))
    assert not any("/tmp/" in rest for rest in IMAGES[name].all("COPY"))
    assert IMAGES[name].all("HEALTHCHECK")


def test_every_image_that_is_not_built_here_can_be_pinned_by_digest():
    """Digests are not committed: each belongs to the copy of one registry at one time."""
    digest = "registry.example/copy@sha256:" + "0" * 64
    services = compose(**SECRETS, POSTGRES_IMAGE=digest, S3_IMAGE=digest)["services"]

    foreign = {name: one["image"] for name, one in services.items() if "build" not in one}
    assert set(foreign) == {"postgres", "bucket", "s3"} and set(foreign.values()) == {digest}
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(bases) == {"python:${PYTHON}", "base", "worker"}, "TAG@DIGEST is a tag to the builder"


def test_secrets_beside_the_compose_file_get_into_no_image_and_no_commit():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    for name in (".env", "settings.env"):
        assert ignored.index(f"**/{name}") > ignored.index("!deployments")
        assert f"deployments/{name}" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", IMAGES)
def test_the_older_services_env_file_names_the_port_of_a_container(monkeypatch, name):
    image = environment(IMAGES[name])
    exposed = [
        re.sub(r"\$\{(\w+)\}", lambda match: image[match[1]], rest) for rest in IMAGES[name].all("EXPOSE")
    ]

    api = settings_with(monkeypatch, image).api
    assert (api.host, [str(api.port)]) == ("0.0.0.0", exposed or ["8080"])
    for older in ({"API_PORT": "5000"}, {"PORT": "5000"}, {"MUSETALK_API__PORT": "5000", "API_PORT": "1"}):
        with monkeypatch.context() as patch:
            assert settings_with(patch, image | older).api.port == 5000
    with monkeypatch.context() as patch:
        older = {"API_HOST": "127.0.0.1", "API_PORT": "5000"}
        assert settings_with(patch, image | older).api.host == "127.0.0.1"


@pytest.mark.parametrize("name", ["api", "all"])
def test_the_health_of_an_api_is_asked_on_the_port_in_force(name):
    asked = IMAGES[name].all("HEALTHCHECK")[-1].partition(" CMD ")[2]

    assert json.loads(asked) == ["python", "-m", "deployments.stack.healthcheck"]


def every_command():
    yield from ((name, command(stage)) for name, stage in IMAGES.items())
    yield from ((f"{name} of compose", service["command"]) for name, service in OURS.items())


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in every_command()])
def test_commands_are_commands_of_musetalk(words):
    assert words[0] == "musetalk"
    assert {word for word in words if word.startswith("-")} <= known_options(words[1:])


@pytest.mark.parametrize("name", [name for name in OURS if "worker" in OURS[name]["command"]])
def test_the_health_of_a_worker_is_asked_where_it_tells_it(name):
    words = OURS[name]["command"]
    port = words[words.index("--health-port") + 1]
    own = OURS[name].get("healthcheck", {}).get("test")
    asked = own or json.loads(IMAGES["worker"].all("HEALTHCHECK")[-1].partition(" CMD ")[2])

    assert asked[-1] == f"http://127.0.0.1:{port}/health"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(variables, id=name)
        for name, variables in [
            *((name, environment(stage)) for name, stage in IMAGES.items()),
            *((f"{name} of compose", service["environment"]) for name, service in OURS.items()),
        ]
    ],
)
def test_every_setting_that_is_set_is_one(found):
    known = set(re.findall(r"^#(MUSETALK_\w+)=", env_example(), re.MULTILINE))

    assert {name for name in found if name.startswith("MUSETALK_")} <= known


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_understood(monkeypatch, name):
    settings = settings_with(monkeypatch, all_environment(name))

    assert settings.home == Path("/home/musetalk/data")
    if name == "api":
        assert (settings.api.host, settings.api.port) == ("0.0.0.0", 8080)
    if name != "prefect":
        assert settings.store_url == "s3://musetalk/main"


@pytest.mark.parametrize("name", OURS)
def test_no_process_in_a_container_reports_to_anybody(name):
    found = all_environment(name)

    assert found["DO_NOT_TRACK"] == "1"
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_every_pool_has_a_worker():
    workers = [service["command"] for service in OURS.values() if service["command"][1] == "worker"]

    assert sorted(words[words.index("--pool") + 1] for words in workers) == sorted(
        {job_type.pool for job_type in FLOWS.values()}
    )


def test_services_come_back_and_what_is_waited_for_can_be_seen():
    for name, service in SERVICES.items():
        once = name in ("bucket", "deploy")
        assert service["restart"] == ("no" if once else "unless-stopped"), name
        assert service["read_only"] is True, name
        for other, how in service.get("depends_on", {}).items():
            seen = SERVICES[other].get("healthcheck", {}).get("test")
            wanted = "service_healthy" if seen else "service_completed_successfully"
            assert how["condition"] == wanted, (name, other)


def test_what_is_written_lies_in_named_volumes():
    document = compose(**SECRETS)
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service["volumes"]}

    assert used == set(document["volumes"])
    for name in OURS:
        assert OURS[name]["volumes"] == [f"{name}:{all_environment(name)['MUSETALK_HOME']}"]


def test_the_bucket_of_the_store_is_made_before_the_store_starts():
    bucket = all_environment("api")["MUSETALK_STORE__URL"].removeprefix("s3://").split("/")[0]

    assert SERVICES["bucket"]["entrypoint"] == ["mkdir", "-p", f"/data/{bucket}"]
    assert SERVICES["bucket"]["volumes"] == SERVICES["s3"]["volumes"]
    assert "bucket" in SERVICES["s3"]["depends_on"]


def test_no_secret_has_a_default():
    example = (ROOT / "deployments" / "compose.env.example").read_text()

    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == set(SECRETS)
    for name in SECRETS:
        with pytest.raises(AssertionError, match=name):
            compose(**SECRETS | {name: ""})


def test_the_file_for_cards_changes_a_service_there_is():
    extra = compose("compose.gpu.yaml")["services"]

    assert set(extra) == {"worker"}
    assert set(extra["worker"]["build"]["args"]) <= {
        rest.partition("=")[0] for rest in IMAGES["worker"].all("ARG")
    }


@pytest.mark.slow
def test_the_api_s_image_builds_and_answers_on_the_older_service_s_port():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, timeout=60).returncode:
        pytest.skip("no Docker daemon answers")
    tag = f"musetalk-flows-test-{os.getpid()}"
    build = [docker, "build", "--target", "api", "--tag", tag, str(ROOT)]
    subprocess.run(build, check=True, timeout=1800)
    variables = {"API_PORT": "5000", "MUSETALK_API__KEYS": "k", "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    options = [word for pair in variables.items() for word in ("--env", "=".join(pair))]
    try:
        start = [docker, "run", "--rm", "--detach", "--read-only", "--tmpfs=/tmp", "--name", tag]
        start += ["--volume=/home/musetalk/data", *options, tag]
        subprocess.run(start, check=True, timeout=120)
        asking = [docker, "exec", tag, "python", "-m", "deployments.stack.healthcheck"]
        deadline = time.monotonic() + 60
        while subprocess.run(asking, timeout=60).returncode:
            assert time.monotonic() < deadline, "the container did not become healthy"
            time.sleep(1)
    finally:
        subprocess.run([docker, "rm", "--force", tag], capture_output=True, timeout=60)
        subprocess.run([docker, "rmi", tag], capture_output=True, timeout=60)
