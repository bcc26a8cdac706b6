"""The systemd units: verified by systemd, sandboxed, and equal to the Kubernetes manifests in their facts."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from kubernetes_facts import kubernetes_parts, secret_names

from tasks.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "systemd"
SERVICES = ["musetalk-api", "musetalk-deploy", "musetalk-light", "musetalk-server", "musetalk-worker@"]
PARTS = {"musetalk-server": "prefect", "musetalk-worker@": "gpu"}
FILES = {"secrets.env": "musetalk", "api.env": "musetalk-api", "database.env": "musetalk-database"}
"""Files of secrets, and the Secret of the Kubernetes manifests with the same contents."""
HIGHEST_EXPOSURE = 2.0
each_service = pytest.mark.parametrize("name", SERVICES)


def settings(name):
    """Return the directives of a service with its drop-ins, as systemd merges them: name to values."""
    paths = [FOLDER / f"{name}.service"]
    drop_ins = [*FOLDER.glob("musetalk-.service.d/*.conf"), *FOLDER.glob(f"{name}.service.d/*.conf")]
    found = {}
    for path in [*paths, *sorted(drop_ins, key=lambda path: path.name)]:
        for line in path.read_text().splitlines():
            if match := re.match(r"(\w+)=(.*)", line):
                found.setdefault(match[1], []).append(match[2])
    return found


def last(name, key):
    return settings(name)[key][-1]


def environment(name):
    return dict(pair.split("=", 1) for line in settings(name)["Environment"] for pair in line.split())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Copy the units as an operator installs them, with a program that exists."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    folder = tmp_path_factory.mktemp("units") / "system"
    shutil.copytree(FOLDER, folder)
    program = folder.parent / "musetalk"
    program.touch(0o755)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace("/opt/musetalk/bin/musetalk", str(program)))
    (folder / "musetalk-worker@0.service").symlink_to(folder / "musetalk-worker@.service")
    return folder


def analyze(folder, *arguments):
    # the empty entry at the end stands for the units of the system
    variables = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_COLORS": "0"}
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)


def unit(name):
    return f"{name}0.service" if name.endswith("@") else f"{name}.service"


def test_every_service_is_listed():
    assert sorted(path.stem for path in FOLDER.glob("*.service")) == SERVICES


@pytest.mark.parametrize("name", ["musetalk.target", *map(unit, SERVICES)])
def test_systemd_finds_no_fault(installed, name):
    done = analyze(installed, "verify", "--man=no", str(installed / name))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_a_fault_that_is_there(installed):
    path = installed / "musetalk-wrong.service"
    path.write_text("[Service]\nExecStart=/bin/true\nTimeoutStopSecs=3\n")
    done = analyze(installed, "verify", "--man=no", str(path))
    path.unlink()
    assert "TimeoutStopSecs" in done.stderr


@each_service
def test_the_sandbox_is_tight(installed, name):
    threshold = str(round(10 * HIGHEST_EXPOSURE))
    done = analyze(
        installed, "security", "--offline=true", f"--threshold={threshold}", str(installed / unit(name))
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_only_workers_that_render_see_devices(installed):
    sees = {}
    for name in SERVICES:
        done = analyze(installed, "security", "--offline=true", "--json=short", str(installed / unit(name)))
        sees[name] = not {one["json_field"]: one["set"] for one in json.loads(done.stdout)}["PrivateDevices"]
    assert [name for name, devices in sees.items() if devices] == ["musetalk-worker@"]


@each_service
def test_commands_are_those_of_kubernetes(name):
    part = kubernetes_parts()[PARTS.get(name, name.removeprefix("musetalk-"))]
    words = last(name, "ExecStart").replace("/opt/musetalk/bin/", "").split()
    if name == "musetalk-worker@":  # several on one computer: the number of the GPU is the last digit
        words = [{"809%i": "8081", "911%i": "9100"}.get(word, word) for word in words]
    expected = [word.replace("0.0.0.0", "127.0.0.1") for word in part.command]
    assert words == expected


@each_service
def test_time_to_stop_is_the_grace_of_kubernetes(name):
    part = kubernetes_parts()[PARTS.get(name, name.removeprefix("musetalk-"))]
    assert int(last(name, "TimeoutStopSec")) == part.grace_s
    if "worker" in last(name, "ExecStart"):
        assert int(last(name, "TimeoutStopSec")) >= WorkerSettings().drain_s + 60
        # SIGTERM to its processes as well would end the jobs that the worker waits for
        assert last(name, "KillMode") == "mixed"


@each_service
def test_services_are_started_again_and_in_order(name):
    is_job = last(name, "Type") == "oneshot"
    assert last(name, "Restart") == ("on-failure" if is_job else "always")
    assert last(name, "StartLimitIntervalSec") == "0"
    before = {"musetalk-server": "", "musetalk-deploy": "musetalk-server.service"}
    assert before.get(name, "musetalk-deploy.service") in last(name, "After")
    # a server that is restarted takes no worker with it: running jobs continue
    assert not {"Requires", "BindsTo"} & set(settings(name))


@each_service
def test_each_reads_the_secrets_that_it_has_in_kubernetes(name):
    part = kubernetes_parts()[PARTS.get(name, name.removeprefix("musetalk-"))]
    files = [Path(one.removeprefix("-")).name for one in settings(name)["EnvironmentFile"]]
    assert "musetalk.env" in files
    read = {FILES[file] for file in files if file != "musetalk.env"}
    assert read == {
        secret for secret, names in secret_names().items() if names & part.secrets and _fits(secret, name)
    }


def _fits(secret, name):
    """Return whether the Secret is of this part; MUSETALK_REDIS__PASSWORD is in several."""
    return (secret == "musetalk-database") == (name == "musetalk-server")


def test_settings_exist_and_secrets_are_not_written_down():
    known = set(re.findall(r"^#?([A-Z_0-9]+)=", (ROOT / "deployments/env.example").read_text(), re.MULTILINE))
    example = (FOLDER / "musetalk.env.example").read_text()
    names = re.findall(r"\bMUSETALK_[A-Z_0-9]+\b", example)
    assert set(names) <= known
    for secret, file in ((FILES[file], file) for file in FILES):
        listed = re.search(
            rf"^#   {re.escape(file)} .*?(?=^#   \w|^[^#])", example, re.MULTILINE | re.DOTALL
        )[0]
        wanted = secret_names()[secret] - {"POSTGRES_PASSWORD"}
        assert wanted <= set(re.findall(r"[A-Z][A-Z_0-9]{5,}", listed)), file
    for name in SERVICES:
        assert {key for key in environment(name) if key.startswith("MUSETALK_")} <= known | {"MUSETALK_HOME"}


def test_folders_are_those_that_the_account_may_write():
    for name in SERVICES:
        assert last(name, "User") == "musetalk" and last(name, "StateDirectory") == "musetalk"
        assert environment(name)["MUSETALK_HOME"] == "/var/lib/musetalk"
    assert re.search(
        r'^u musetalk - ".*" /var/lib/musetalk$', (FOLDER / "musetalk.sysusers.conf").read_text(), re.M
    )
