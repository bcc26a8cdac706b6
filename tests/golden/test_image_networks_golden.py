"""The VAE and the UNets repeat the original's latents, predictions and faces."""

import numpy as np
import pytest
import torch
from golden_data import golden_frame, golden_sets, load

from musetalk_core.engines.musetalk.batch_size import BatchSize
from musetalk_core.engines.musetalk.generator import Generator
from musetalk_core.engines.musetalk.latents import LatentEncoder, resize_crop, vae_inputs
from musetalk_core.networks.fast_unet import FoldedUNet
from musetalk_core.networks.sd_loaders import load_unet, load_vae
from musetalk_core.types import Box

everywhere = pytest.mark.parametrize("folder", golden_sets())


@pytest.fixture(scope="module")
def vae(golden_models, device):
    folder = golden_models("vae") / "sd-vae"
    return load_vae(folder / "diffusion_pytorch_model.bin", folder / "config.json", device)


@pytest.fixture(scope="module")
def unets(golden_models, device):
    root = golden_models("unet-v1", "unet-v15")
    v1, v15 = root / "musetalk", root / "musetalkV15"
    return {
        "v1": FoldedUNet(load_unet(v1 / "pytorch_model.bin", v1 / "musetalk.json", device)),
        "v15": FoldedUNet(load_unet(v15 / "unet.pth", v15 / "musetalk.json", device)),
    }


def predicted(unet, latents, context):
    place = unet.unet.device
    with torch.inference_mode():
        inputs = (torch.from_numpy(array.copy()).to(place) for array in (latents, context))
        return unet(*inputs).cpu().numpy()


def assert_predicted(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 3e-5


@everywhere
def test_crops_are_cut_and_scaled_as_in_the_original(folder):
    arrays, frame = load(folder, "latent"), golden_frame(folder, 0)
    height, width = frame.shape[:2]
    for values, expected in zip(arrays["edge_crop_boxes"].tolist(), arrays["edge_crop256"], strict=True):
        x1, y1, x2, y2 = values
        box = Box(x1, y1, x2, min(y2 + int(arrays["margin"]), height)).clip(width, height)
        np.testing.assert_array_equal(resize_crop(frame[box.slices()]), expected)


@everywhere
def test_the_lower_half_is_hidden_before_the_vae_sees_it(folder, device):
    arrays = load(folder, "latent")

    masked, full = vae_inputs([arrays["crop256_v15"][0]], device).cpu().numpy()[:, None, :, ::4, ::4]

    np.testing.assert_allclose(masked, arrays["input_masked0_s4"], atol=1e-6)
    np.testing.assert_allclose(full, arrays["input_full0_s4"], atol=1e-6)


@everywhere
def test_moments_and_mean_latents(folder, vae, device):
    arrays = load(folder, "latent")
    encoder = LatentEncoder(vae, device)

    with torch.inference_mode():
        moments = encoder._moments(vae_inputs(list(arrays["crop256_v15"]), device)).cpu().numpy()

    count = len(arrays["crop256_v15"])
    np.testing.assert_allclose(moments[0::2], arrays["moments_masked"][:count], rtol=0, atol=1e-4)
    np.testing.assert_allclose(moments[1::2], arrays["moments_full"][:count], rtol=0, atol=1e-4)
    latents = encoder.encode(list(arrays["crop256_v15"]))
    np.testing.assert_allclose(latents, arrays["latents_mode_v15"][:count], rtol=0, atol=1e-4)


@everywhere
@pytest.mark.parametrize("at_once", [1, 3])
def test_sampled_latents_draw_the_originals_noise_however_they_are_batched(folder, vae, device, at_once):
    arrays = load(folder, "latent")
    encoder = LatentEncoder(vae, device, "sample", int(arrays["noise_seed"]))
    crops = list(arrays["crop256_v15"])

    found = [encoder.encode(crops[start : start + at_once]) for start in range(0, len(crops), at_once)]

    expected = arrays["latents_sampled"][: len(crops)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-3)


@everywhere
def test_predictions_of_both_versions(folder, unets):
    arrays = load(folder, "latent")
    context = arrays["context_frame0"]

    found = predicted(unets["v15"], arrays["latents_mode_v15"][:1], context)
    assert_predicted(found, arrays["unet_out_single0"])
    assert_predicted(found, arrays["unet_out_v15"][:1])

    assert_predicted(
        predicted(unets["v1"], arrays["latents_mode_v1"][:1], context), arrays["unet_out_v1"][:1]
    )
    assert np.abs(found - arrays["unet_out_v1"][:1]).max() > 1, "the two versions are told apart"


@everywhere
def test_faces_are_within_a_level(folder, unets, vae, device):
    arrays = load(folder, "latent")
    context = arrays["context_frame0"]

    for latents in (arrays["latents_mode_v15"][:1], np.repeat(arrays["latents_mode_v15"][:1], 3, axis=0)):
        generator = Generator(device, BatchSize(8))
        faces = generator.render_faces(unets["v15"], vae, latents, np.repeat(context, len(latents), axis=0))
        for face in faces:
            difference = np.abs(face.astype(int) - arrays["decoded_faces_v15"][0].astype(int))
            assert difference.max() <= 1
            assert (difference > 0).mean() <= 0.002
