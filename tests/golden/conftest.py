"""The networks with their stand-in weights, each loaded once."""

import pytest
import torch

from musetalk_core.nets.bisenet import load_parser
from musetalk_core.nets.device import Device
from musetalk_core.nets.dwpose import load_pose
from musetalk_core.nets.s3fd import load_detector

CPU = Device(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def parser(golden_models):
    return load_parser(golden_models("bisenet") / "face-parse-bisent" / "79999_iter.pth", CPU)


@pytest.fixture(scope="session")
def detector(golden_models):
    return load_detector(golden_models("s3fd") / "s3fd" / "s3fd-619a316812.pth", CPU)


@pytest.fixture(scope="session")
def pose(golden_models):
    return load_pose(golden_models("dwpose") / "dwpose" / "dw-ll_ucoco_384.pth", CPU)
