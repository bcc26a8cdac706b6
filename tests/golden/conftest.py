"""The networks with their stand-in weights, loaded once per device: the CPU, and a GPU if available."""

import pytest
import torch

from musetalk_core.networks.bisenet import load_parser
from musetalk_core.networks.dwpose import load_pose
from musetalk_core.networks.s3fd import load_detector
from musetalk_core.runtime.device import choose_device


@pytest.fixture(scope="session", params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    """Full precision: the limits are the same everywhere."""
    return choose_device(request.param, "fp32")


@pytest.fixture(scope="session")
def parser(golden_models, device):
    return load_parser(golden_models("bisenet") / "face-parse-bisent" / "79999_iter.pth", device)


@pytest.fixture(scope="session")
def detector(golden_models, device):
    return load_detector(golden_models("s3fd") / "s3fd" / "s3fd-619a316812.pth", device)


@pytest.fixture(scope="session")
def pose(golden_models, device):
    return load_pose(golden_models("dwpose") / "dwpose" / "dw-ll_ucoco_384.pth", device)
