"""The restoration networks repeat the outputs of the code of GFPGAN and CodeFormer, small and real size."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from golden_data import COMMITTED, golden_frame, load, weights

from musetalk_core.errors import InputError, WeightsInvalid
from musetalk_core.networks.codeformer import CodeFormer, load_codeformer
from musetalk_core.networks.gfpgan import GFPGAN, load_gfpgan
from musetalk_core.networks.vqgan import VqganSize

SMALL_GFPGAN = partial(GFPGAN, side=128, style_features=32, mlp_layers=2, channel_multiplier=2, narrow=1 / 16)
SMALL_CODEFORMER = partial(
    CodeFormer, VqganSize(128, (32, 32, 32, 64, 64, 64), 48, 64), features=64, heads=4, layers=2
)


@pytest.fixture(scope="module")
def gfpgan(golden_models, device):
    path = golden_models("gfpgan-small") / weights.NETS["gfpgan-small"][1]
    return load_gfpgan(path, device, SMALL_GFPGAN)


@pytest.fixture(scope="module")
def codeformer(golden_models, device):
    path = golden_models("codeformer-small") / weights.NETS["codeformer-small"][1]
    return load_codeformer(path, device, SMALL_CODEFORMER)


@pytest.fixture(scope="module")
def vectors():
    return load(COMMITTED, "restoration")


@pytest.fixture(scope="module")
def faces(device):
    return face_inputs((2, 4)).to(device.torch_device)


def face_inputs(frames, repeat=1):
    """Faces of frames of the clip, (n, 3, 128 * repeat, 128 * repeat) RGB, -1..1; each pixel is repeated."""
    crops = [golden_frame(COMMITTED, frame)[56:184, 64:192, ::-1] for frame in frames]
    pixels = np.stack(crops).repeat(repeat, axis=1).repeat(repeat, axis=2).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32) / np.float32(127.5) - 1)


def run(net, *inputs):
    with torch.inference_mode():
        return net(*inputs).cpu().numpy()


def assert_the_same(found, expected):
    """Within 1e-4 of the largest value."""
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_gfpgans_output_is_the_originals(gfpgan, faces, vectors):
    found = run(gfpgan, faces)

    assert found.shape == faces.shape
    assert_the_same(found[:, :, ::5, ::5], vectors["gfpgan_small_s5"])


@pytest.mark.parametrize("fidelity", [0, 0.5, 1])
def test_codeformers_output_is_the_originals(codeformer, faces, vectors, fidelity):
    found = run(codeformer, faces, fidelity)

    assert found.shape == faces.shape
    assert_the_same(found[:, :, ::5, ::5], vectors[f"codeformer_small_w{fidelity * 100:03.0f}_s5"])


def test_the_codes_are_the_originals(codeformer, faces, vectors):
    with torch.inference_mode():
        features, _ = codeformer.encoder(faces, [])
        codes = codeformer._code_indices(features).cpu().numpy()

    np.testing.assert_array_equal(codes, vectors["codeformer_small_codes"])


@pytest.mark.parametrize("name", ["gfpgan", "codeformer"])
def test_a_batch_gives_what_its_faces_give_alone_and_every_time(name, faces, request):
    net = request.getfixturevalue(name)

    together, again, alone = run(net, faces), run(net, faces), run(net, faces[1:])

    np.testing.assert_array_equal(again, together)
    assert_the_same(alone, together[1:])
    assert np.abs(together[0] - together[1]).max() > 1e-2


@pytest.mark.parametrize("name", ["gfpgan", "codeformer"])
@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 4, 128, 128), (3, 128, 128)])
def test_other_shapes_are_refused(name, shape, device, request):
    net = request.getfixturevalue(name)

    with pytest.raises(InputError, match=r"faces must be \(B, 3, 128, 128\)"):
        net(torch.zeros(shape, device=device.torch_device))


@pytest.mark.parametrize("fidelity", [-0.1, 1.1, float("nan")])
def test_other_fidelities_are_refused(codeformer, faces, fidelity):
    with pytest.raises(InputError, match="fidelity must be 0 to 1"):
        codeformer(faces, fidelity)


def test_parts_that_only_training_needs_are_not_kept(gfpgan):
    kept = gfpgan.state_dict().keys()

    assert not [key for key in kept if "toRGB" in key or "style_mlp" in key]
    assert len(kept) == len(weights.keys("gfpgan-small")) - 2 * 5 - 2 * 2


def test_a_file_of_another_size_is_refused(golden_models, device):
    path = golden_models("gfpgan-small") / weights.NETS["gfpgan-small"][1]

    with pytest.raises(WeightsInvalid, match=r"GFPGANv1\.4\.pth are not the weights of GFPGAN"):
        load_gfpgan(path, device)


def real_size(net, label, device):
    """Give a network of real size its stand-in weights."""
    listed = json.loads((COMMITTED / f"keys-{label}.json").read_text(encoding="utf-8"))
    state = {
        key: torch.from_numpy(weights.tensor(weights.DEFAULT_SET, label, key, tuple(shape)))
        for key, shape in listed.items()
    }
    net.load_state_dict(state, strict=True, assign=True)
    return net.eval().to(device.torch_device)


@pytest.mark.slow
def test_gfpgan_of_real_size_is_the_originals(device, vectors):
    with torch.device("meta"):
        net = GFPGAN()
    net = real_size(net, "gfpgan", device)

    found = run(net, face_inputs((0,), repeat=4).to(device.torch_device))

    assert_the_same(found[:, :, ::17, ::17], vectors["gfpgan_real_s17"])


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", [0, 0.5])
def test_codeformer_of_real_size_is_the_originals(device, vectors, fidelity):
    with torch.device("meta"):
        net = CodeFormer()
    net = real_size(net, "codeformer", device)

    found = run(net, face_inputs((0,), repeat=4).to(device.torch_device), fidelity)

    assert_the_same(found[:, :, ::17, ::17], vectors[f"codeformer_real_w{fidelity * 100:03.0f}_s17"])
