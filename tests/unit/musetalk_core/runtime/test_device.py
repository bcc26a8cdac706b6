"""Device selection and full precision."""

import pytest
import torch

from musetalk_core.runtime.device import choose_device


@pytest.fixture
def shortening(monkeypatch):
    """Pretend to have a GPU with TF32 enabled, as in PyTorch's defaults."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    libraries = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [library.allow_tf32 for library in libraries]
    for library in libraries:
        library.allow_tf32 = True
    yield libraries
    for library, value in zip(libraries, before, strict=True):
        library.allow_tf32 = value


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_choosing_a_card_ends_the_shortening_of_full_precision(shortening, precision):
    """Whichever network is loaded first: the first latents of a process must not differ from the next."""
    chosen = choose_device("cuda", precision)

    expected = {"auto": torch.float16, "fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert (chosen.torch_device.type, chosen.dtype) == ("cuda", expected)
    assert not any(library.allow_tf32 for library in shortening)
