"""The `musetalk setup` command against a local model hub with generated weights of the real size."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from deployments.cli import setup as setup_command
from deployments.cli.main import app
from deployments.stack import neural_probe
from tasks.models.install import open_local_models
from tasks.settings import get_settings
from tests.support import golden_data

PARSER = "ManyOtherFunctions/face-parse-bisent/79999_iter.pth"
DWPOSE = "yzd-v/DWPose/dw-ll_ucoco_384.pth"


def setup(*words, keys=None):
    done = CliRunner().invoke(app, ["setup", "--model", "face-parse", *words], input=keys)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def parser_weights(tmp_path):
    return golden_data.write_models(tmp_path / "made", "bisenet")[0].read_bytes()


def test_without_a_terminal_nothing_is_downloaded_unless_asked(hub, parser_weights):
    hub.put(PARSER, parser_weights)

    status, out, _ = setup("--no-probe")

    assert status == 0 and not hub.asked
    assert "face-parse: 0.1 GB to download" in out and "licence: MIT" in out
    assert "Nothing was downloaded. Run `" in out and "setup --neural" in out
    assert "ffmpeg" in out and "disk" in out


def test_the_weights_are_pulled_and_verified(hub, parser_weights):
    hub.put(PARSER, parser_weights)

    status, out, err = setup("--no-probe", "--neural", "--json")

    report = json.loads(out)
    assert status == 0, err
    assert report["verified"] == {"complete": True, "installed": ["face-parse"], "bad": []}
    assert not open_local_models().status("face-parse").missing
    assert "complete and verified" in err
    status, out, _ = setup("--no-probe", "--no-neural")
    assert status == 0 and "face-parse: installed" in out


def test_weights_of_another_network_are_reported(hub, torch_bytes):
    hub.put(PARSER, torch_bytes(3000))

    status, out, _ = setup("--no-probe", "--neural")

    assert status == 1 and "wrong: " in out


def test_a_hub_without_the_file_is_an_error_with_exit_status_1(hub):
    status, _, err = setup("--no-probe", "--neural")

    assert status == 1 and err.startswith("musetalk: ")


def test_the_speed_is_measured_and_says_how(monkeypatch):
    monkeypatch.setattr(neural_probe, "_PROBE_S", 0.05)
    estimate = neural_probe.estimate_speed(get_settings().models)

    assert estimate.seconds > 0 and estimate.device.startswith(("cpu", "cuda", "mps"))
    assert "estimated from" in estimate.describe() and "were not measured" in estimate.describe()
    assert replace(estimate, seconds=125.0).describe().startswith("about 125 s per second of video on ")


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_doctor_runs_the_guided_setup_first_on_request(hub, monkeypatch, words):
    """Setup offers the neural engine and downloads nothing unasked; the doctor's own report comes last."""
    monkeypatch.setattr(setup_command, "_measure_speed", lambda *_: None)
    done = CliRunner().invoke(app, ["doctor", "--fix", *words])

    said = done.stderr if words else done.stdout
    assert "musetalk: " in said and "to download" in said and "setup --neural" in said
    assert not hub.asked
    if words:
        assert {"name", "state", "detail", "mend"} == set(json.loads(done.stdout)[0])
    else:
        assert "prefect and worker" in said.rpartition("to download")[2]


def test_doctor_alone_offers_nothing(hub):
    done = CliRunner().invoke(app, ["doctor"])
    assert "to download" not in done.stdout and "OK" in done.stdout
