"""Our modules have the keys and shapes of the official weight files, and files of another net are refused."""

import json

import pytest
import torch
from golden_data import COMMITTED

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.networks.bisenet import BiSeNet, load_parser
from musetalk_core.networks.codeformer import CodeFormer, load_codeformer
from musetalk_core.networks.dwpose import RTMPose, load_pose
from musetalk_core.networks.gfpgan import GFPGAN, load_gfpgan
from musetalk_core.networks.s3fd import S3FD, load_detector
from musetalk_core.runtime.device import choose_device

LOADERS = {
    load_parser: BiSeNet,
    load_detector: S3FD,
    load_pose: RTMPose,
    load_gfpgan: GFPGAN,
    load_codeformer: CodeFormer,
}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("bisenet", BiSeNet),
        ("s3fd", S3FD),
        ("dwpose", RTMPose),
        ("gfpgan", GFPGAN),
        ("codeformer", CodeFormer),
    ],
)
def test_keys_and_shapes_are_the_official_ones(name, make):
    official = json.loads((COMMITTED / f"keys-{name}.json").read_text())
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in make().state_dict().items()}

    assert ours == official


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_file_is_named(load, tmp_path):
    with pytest.raises(ModelNotInstalled, match=r"net\.pth"):
        load(tmp_path / "net.pth", choose_device("cpu"))


@pytest.mark.parametrize(("load", "make"), LOADERS.items())
def test_another_nets_file_is_named(load, make, tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "net.pth")

    with pytest.raises(WeightsInvalid, match=rf"net\.pth are not the weights of {make.__name__}"):
        load(tmp_path / "net.pth", choose_device("cpu"))
