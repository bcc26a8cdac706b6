"""Weight files of every kind are read, and none of them runs anything."""

import datetime
import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.networks.checkpoint import assign_weights, read_tensors

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def assert_read(path):
    found = read_tensors(path)
    assert found.keys() == STATE.keys()
    assert torch.equal(found["weight"], STATE["weight"])


@pytest.mark.parametrize(
    "wrapped",
    [STATE, {"state_dict": STATE, "meta": {"epoch": 3}}, {"params_ema": STATE}, OrderedDict(STATE)],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_of_both_formats(tmp_path, wrapped, zipped):
    torch.save(wrapped, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)

    assert_read(tmp_path / "net.pth")


def test_openai_files(tmp_path):
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": STATE}, tmp_path / "tiny.pt")

    assert_read(tmp_path / "tiny.pt")


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "net.safetensors")

    assert_read(tmp_path / "net.safetensors")


def test_notes_of_a_training_are_passed_over(tmp_path):
    meta = {"loss": np.float64(0.5), "means": np.arange(3.0), "at": datetime.timedelta(seconds=5)}
    torch.save({"meta": meta, "state_dict": STATE}, tmp_path / "net.pth")

    assert_read(tmp_path / "net.pth")


class Runs:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_wants_to_run_something_is_refused(tmp_path, zipped):
    target = tmp_path / "ran"
    torch.save(
        {"state_dict": STATE, "meta": Runs(target)},
        tmp_path / "net.pth",
        _use_new_zipfile_serialization=zipped,
    )

    with pytest.raises(WeightsInvalid, match=r"net\.pth"):
        read_tensors(tmp_path / "net.pth")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_damaged_files_are_named(tmp_path, content, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)

    with pytest.raises(WeightsInvalid, match="net"):
        read_tensors(path)


def test_a_cut_file_is_named(tmp_path):
    torch.save({"weight": torch.randn(1000, 100)}, tmp_path / "net.pth")
    with (tmp_path / "net.pth").open("r+b") as file:
        file.truncate(200_000)

    with pytest.raises(WeightsInvalid, match="is cut short"):
        read_tensors(tmp_path / "net.pth")


def test_a_missing_file_is_a_missing_model(tmp_path):
    with pytest.raises(ModelNotInstalled, match="missing"):
        read_tensors(tmp_path / "net.pth")


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "net.pth")

    with pytest.raises(WeightsInvalid, match="no tensors"):
        read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "missing 1: bias"),
        ({"extra": torch.zeros(1)}, "unknown 1: extra"),
        ({"weight": torch.zeros(3, 2)}, r"wrong shape 1: weight \(3, 2\) instead of \(2, 3\)"),
    ],
)
def test_tensors_of_another_net_are_told_by_name(tmp_path, change, message):
    tensors = {key: value for key, value in {**STATE, **change}.items() if value is not None}

    with torch.device("meta"):
        net = nn.Linear(3, 2)
    with pytest.raises(WeightsInvalid, match=message):
        assign_weights(net, tensors, tmp_path / "net.pth")


def test_a_module_takes_the_tensors_themselves(tmp_path):
    with torch.device("meta"):
        net = nn.Linear(3, 2)
    assign_weights(net, STATE, tmp_path / "net.pth")

    assert net.weight.data_ptr() == STATE["weight"].data_ptr()


class Prints:
    """An object whose pickle calls a function."""

    def __reduce__(self):
        return print, ("was run",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_the_advice_of_torch_to_load_code_is_not_repeated(tmp_path, is_zip, capsys):
    path = tmp_path / "net.pth"
    torch.save({"weight": Prints()}, path, _use_new_zipfile_serialization=is_zip)

    with pytest.raises(WeightsInvalid, match=r"net\.pth contains code \(__builtin__\.print\)") as caught:
        read_tensors(path)
    assert "weights_only" not in str(caught.value) and "http" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_the_error_of_a_missing_file_names_each_file_that_would_do(tmp_path):
    models = LocalModels(tmp_path, tmp_path / "hashes.json")
    (tmp_path / "sd-vae").mkdir()
    (tmp_path / "sd-vae" / "config.json").write_text("{}")

    with pytest.raises(ModelNotInstalled) as caught:
        models.find("sd-vae")
    assert "diffusion_pytorch_model.safetensors is missing" in str(caught.value)
    assert "diffusion_pytorch_model.bin would do as well" in str(caught.value)
