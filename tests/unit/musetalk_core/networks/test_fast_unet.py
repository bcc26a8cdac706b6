"""Folded layers give the same numbers as the original ones."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.nn import functional

from musetalk_core.networks.fast_unet import FoldedUNet, FusedUpsampleConv, fuse_upsampling

SMALL = {
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


@pytest.fixture
def unet():
    torch.manual_seed(1)
    return UNet2DConditionModel(**SMALL).eval()


def test_a_unet_at_time_zero_without_its_time(unet):
    sample, context = torch.randn(2, 8, 16, 16), torch.randn(2, 10, 24)
    with torch.inference_mode():
        plain = unet(sample, torch.tensor([0]), context).sample
    lean = FoldedUNet(unet)
    assert fuse_upsampling(lean) == 1
    with torch.inference_mode():
        found = lean(sample, context)

    assert torch.allclose(found, plain, atol=2e-5)
    assert not any(weight.is_inference() for weight in lean.parameters()), "these take no other precision"
    assert all(block.time_emb_proj is None for block in unet.modules() if hasattr(block, "time_emb_proj"))


def test_a_decoder_that_doubles_on_small_pictures():
    torch.manual_seed(2)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        norm_num_groups=8,
    ).eval()
    z = torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        plain = vae.decoder(z)
        assert fuse_upsampling(vae.decoder) == 2
        assert torch.allclose(vae.decoder(z), plain, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 2)])
def test_a_doubled_convolution(bias, size):
    torch.manual_seed(3)
    conv, x = nn.Conv2d(3, 5, 3, padding=1, bias=bias), torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected = conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))

        assert torch.allclose(FusedUpsampleConv(conv)(x), expected, atol=1e-5)
