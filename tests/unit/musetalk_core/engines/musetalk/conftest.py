"""The stand-in speech encoder, loaded once, and what it says to the golden clips."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from golden_data import COMMITTED, load

from musetalk_core.formats.pcm import PcmArray
from musetalk_core.types import Float


@pytest.fixture(scope="session")
def golden_speech() -> Callable[[str], PcmArray]:
    """Clip name -> its samples."""

    def clip(name: str) -> PcmArray:
        arrays = load(COMMITTED, "audio")
        start, count = (int(v) for v in arrays[f"{name}/start_n"])
        speech = np.tile(arrays["speech"], -(-(start + count) // len(arrays["speech"])))
        return PcmArray((speech[start : start + count] / 32768).astype(np.float32))

    return clip


@pytest.fixture(scope="session")
def golden_whisper(golden_models):
    """The encoder with stand-in weights, on the CPU."""
    from musetalk_core.networks.whisper_encoder import load_whisper_encoder
    from musetalk_core.runtime.device import choose_device

    return load_whisper_encoder(golden_models("whisper") / "whisper", choose_device("cpu"))


@pytest.fixture(scope="session")
def golden_states(golden_whisper, golden_speech) -> Callable[[str], Float]:
    """Clip name -> (L, 5, 384) float32."""
    return cache(lambda name: np.concatenate(list(golden_whisper.encode(golden_speech(name)))))
