"""Models whose licence forbids commercial use are installed only after the licence was accepted."""

import json

import pytest
import torch
from typer.testing import CliRunner

from deployments.cli.main import app
from musetalk_core.errors import WeightsInvalid
from musetalk_core.model_registry.registry import GROUPS, MODELS, resolve_models
from musetalk_core.model_registry.schema import File, Hub
from tasks.errors import LicenceNotAccepted
from tasks.models.content_checks import check_content
from tasks.models.install import install_from_folder, open_local_models, pull


def run(*words):
    done = CliRunner().invoke(app, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def restricted(known, hub, torch_bytes):
    """A model `restricted` of one file on the hub, for non-commercial use, and `top`, which needs it."""
    body = torch_bytes(3000)
    file = File("restricted/net.pth", "weights", Hub("someone/restricted", "net.pth"), len(body))
    known("restricted", file, non_commercial=True)
    hub.put("someone/restricted/net.pth", body)
    hub.put("someone/top/top.pth", body)
    known("top", File("top/top.pth", "weights", Hub("someone/top", "top.pth"), 3000), needs=("restricted",))


def test_only_codeformer_is_restricted_and_no_group_brings_it():
    assert [name for name, model in MODELS.items() if model.non_commercial] == ["codeformer"]
    assert "non-commercial" in MODELS["codeformer"].licence
    for group in GROUPS:
        assert not any(model.non_commercial for model in resolve_models([group]))


@pytest.mark.parametrize("name", ["restricted", "top"])
def test_nothing_is_asked_for_before_the_licence_is_accepted(hub, restricted, watch, left, name):
    with pytest.raises(LicenceNotAccepted, match="weights pull restricted --accept-licence"):
        pull([name], watch)

    assert not hub.asked and not left() and not watch.lines
    assert open_local_models().folder / "restricted" / "net.pth" in pull([name], watch, accept_licences=True)
    assert pull([name], watch) == [], "what is installed was accepted"


def test_a_folder_gives_it_only_after_the_licence_is_accepted(restricted, watch, left, tmp_path, torch_bytes):
    (tmp_path / "net.pth").write_bytes(torch_bytes(3000))

    with pytest.raises(LicenceNotAccepted):
        install_from_folder(["restricted"], tmp_path, watch)

    assert not left()
    assert len(install_from_folder(["restricted"], tmp_path, watch, accept_licences=True)) == 1


def test_the_command_quotes_the_licence_and_takes_an_option(hub, restricted, left):
    status, _, err = run("weights", "pull", "codeformer")
    assert status == 2 and "S-Lab License 1.0: non-commercial use only" in " ".join(err.split())
    assert "weights pull codeformer --accept-licence" in " ".join(err.split())

    assert run("weights", "pull", "restricted")[0] == 2 and not left()
    status, out, _ = run("weights", "pull", "restricted", "--accept-licence")
    assert status == 0 and "1 files added" in out and left() == ["restricted/net.pth"]


def test_the_list_shows_it(restricted):
    rows = {row["name"]: row for row in json.loads(run("weights", "list", "--json")[1])}

    assert rows["codeformer"]["non_commercial"] and not rows["gfpgan-1.4"]["non_commercial"]
    assert "S-Lab License 1.0: non-commercial use only" in run("weights", "list")[1]


def test_the_setup_without_questions_accepts_nothing(hub, restricted, left):
    status, _, err = run("setup", "--model", "restricted", "--no-probe", "--neural")

    assert status == 2 and "--accept-licence" in " ".join(err.split()) and not left()


@pytest.mark.parametrize(("name", "network"), [("gfpgan-1.4", "GFPGAN"), ("codeformer", "CodeFormer")])
def test_the_weights_of_another_network_are_told(name, network, tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"params_ema": {"conv.weight": torch.zeros(1)}}, path)

    with pytest.raises(WeightsInvalid, match=rf"are not the weights of {network} "):
        check_content(name, {"weights": path})
