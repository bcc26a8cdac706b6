"""Numbers that are not finite are rendered again in full precision, and never shown."""

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from musetalk_core.engines.musetalk.batch_size import BatchSize
from musetalk_core.engines.musetalk.generator import Generator
from musetalk_core.errors import EngineError
from musetalk_core.networks.fast_unet import FoldedUNet
from musetalk_core.runtime.device import Device

HALF = Device(torch.device("cpu"), torch.float16)
FULL = Device(torch.device("cpu"), torch.float32)


class Unet(nn.Module):
    """Adds the mean of the tokens to the first latents; overflows when its gain does."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain), requires_grad=False)

    def forward(self, sample, context):
        return (sample[:, :4] * self.gain + context.mean(dim=(1, 2))[:, None, None, None]) / self.gain


class Vae(nn.Module):
    """Three of four latents, eight times as large."""

    post_quant_conv = None

    def __init__(self, broken=False):
        super().__init__()
        self.broken, self.config = broken, {"scaling_factor": 0.5}

    def decoder(self, z):
        out = nn.functional.interpolate(z[:, :3], scale_factor=8.0)
        return out * float("nan") if self.broken else out


def inputs(count):
    latents = np.full((count, 8, 32, 32), 0.25, np.float32)
    latents[:, 1] = -0.25
    return latents, np.zeros((count, 50, 384), np.float32)


def test_pixels_are_scaled_rounded_and_turned_to_bgr():
    faces = Generator(FULL, BatchSize(2)).render_faces(Unet(1.0), Vae(), *inputs(3))

    assert len(faces) == 3
    assert faces[0].shape == (256, 256, 3)
    assert faces[0].dtype == np.uint8
    # 0.25 / 0.5 / 2 + 0.5 = 0.75 and 0.25; 191.25 and 63.75 round to 191 and 64
    assert faces[0][0, 0].tolist() == [191, 64, 191]


def test_an_overflow_of_half_precision_is_rendered_again():
    unet, vae = Unet(3e5), Vae()
    nn.Module.to(unet, torch.float16)
    unet.gain.data = torch.tensor(6e4, dtype=torch.float16)
    latents, tokens = inputs(2)
    latents *= 8  # 2 * 6e4 is beyond half precision, and far from full

    generator = Generator(HALF, BatchSize(4, initial_size=4))
    faces = generator.render_faces(unet, vae, latents / 1, tokens)

    assert generator.render_stats.fp32_retries == 1
    assert faces[0][0, 0].tolist() == [255, 0, 255]
    assert unet.gain.dtype is torch.float16, "the network is half again"


def test_a_real_network_can_be_widened_and_is_the_same_afterwards():
    torch.manual_seed(0)
    kinds = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
    plain = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(32,),
        layers_per_block=1,
        cross_attention_dim=384,
        attention_head_dim=4,
        norm_num_groups=8,
        **kinds,
    ).eval()
    unet, vae = FoldedUNet(nn.Module.to(plain, torch.float16)), Vae()
    latents, tokens = inputs(2)
    generator = Generator(HALF, BatchSize(4, initial_size=4))
    before = generator.render_faces(unet, vae, latents, tokens)

    rendered = generator.render_faces(unet, vae, latents * 1e6, tokens)

    assert generator.render_stats.fp32_retries == 1
    wide = Generator(FULL, BatchSize(4, initial_size=4)).render_faces(
        nn.Module.to(unet, torch.float32), vae, latents * 1e6, tokens
    )
    np.testing.assert_array_equal(rendered, wide)
    again = generator.render_faces(nn.Module.to(unet, torch.float16), vae, latents, tokens)
    np.testing.assert_array_equal(again, before)
    assert generator.render_stats.fp32_retries == 1


def test_what_stays_infinite_is_an_error_and_no_black_mouth():
    with pytest.raises(EngineError, match="not finite"):
        Generator(FULL, BatchSize(4)).render_faces(Unet(1.0), Vae(broken=True), *inputs(1))
    with pytest.raises(EngineError, match="not finite"):
        Generator(HALF, BatchSize(4)).render_faces(Unet(1.0), Vae(broken=True), *inputs(1))


class OnCard(Generator):
    """Generator that batches as on a GPU, while networks and arrays stay on the CPU."""

    def __init__(self, batch):
        super().__init__(FULL, batch)
        self.sizes = []

    def _render_batch(self, *args):
        self._device = Device(torch.device("cuda"), torch.float32)
        return super()._render_batch(*args)

    def _render_finite(self, nets, latents, tokens, *rest):
        self._device = FULL
        self.sizes.append((len(latents), len(tokens)))
        return super()._render_finite(nets, latents, tokens, *rest)


def test_the_last_batch_is_filled_up_on_a_card_and_gives_its_own_faces_only():
    latents, tokens = inputs(13)
    latents[:, 0] = np.linspace(-1, 1, 13)[:, None, None]
    wanted = Generator(FULL, BatchSize(8, initial_size=8)).render_faces(Unet(1.0), Vae(), latents, tokens)

    generator = OnCard(BatchSize(8, initial_size=8))
    faces = generator.render_faces(Unet(1.0), Vae(), latents, tokens)

    assert generator.sizes == [(8, 8), (8, 8)]
    np.testing.assert_array_equal(faces, wanted)


def test_every_face_of_a_cpu_is_reported_and_a_callback_can_cancel():
    done = []
    Generator(FULL, BatchSize(4, initial_size=4)).render_faces(Unet(1.0), Vae(), *inputs(6), done.append)
    assert sorted(set(done)) == [1, 2, 3, 4, 5, 6] and done == sorted(done)

    def stop(count):
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Generator(FULL, BatchSize(4, initial_size=4)).render_faces(Unet(1.0), Vae(), *inputs(6), stop)


def test_no_frames_are_no_work():
    assert Generator(FULL, BatchSize(4)).render_faces(Unet(1.0), Vae(), *inputs(0)) == []
