"""
Faster diffusion networks for MuseTalk: folded time-step embedding and fused upsampling convolutions.

The results are equal up to rounding.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import nn


class FoldedUNet(nn.Module):
    """A UNet at time step 0 whose time-step embedding is folded into the biases of its residual blocks."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Wrap a UNet. It is modified in place and must not be called directly afterwards."""
        super().__init__()
        fold_timestep_embedding(unet)
        self.unet = unet

    def forward(self, sample: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """
        Predict latents.

        Args:
            sample:  (B, 8, h, w) latents.
            context: (B, N, 384) audio tokens.

        Returns:
            (B, 4, h, w) latents.
        """
        unet = cast(Any, self.unet)
        hidden = unet.conv_in(sample)
        skips: tuple[torch.Tensor, ...] = (hidden,)
        for block in unet.down_blocks:
            hidden, states = _run_block(block, hidden, context)
            skips += states
        hidden = unet.mid_block(hidden, None, encoder_hidden_states=context)
        for block in unet.up_blocks:
            count = len(block.resnets)
            block_skips, skips = skips[-count:], skips[:-count]
            hidden = _run_block(block, hidden, context, res_hidden_states_tuple=block_skips)
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


def _run_block(block: Any, hidden: torch.Tensor, context: torch.Tensor, **more: Any) -> Any:
    if getattr(block, "has_cross_attention", False):
        more["encoder_hidden_states"] = context
    return block(hidden_states=hidden, temb=None, **more)


@torch.no_grad()  # not inference_mode, whose tensors cannot be converted to another precision later
def fold_timestep_embedding(unet: UNet2DConditionModel) -> None:
    """Add the contribution of time step 0 to the bias of each residual block's first convolution."""
    parts = cast(Any, unet)
    weight = parts.conv_in.weight
    timestep = torch.zeros(1, dtype=torch.int64, device=weight.device)
    embedding = parts.time_embedding(parts.time_proj(timestep).to(weight.dtype))
    for block in unet.modules():
        if isinstance(block, ResnetBlock2D) and block.time_emb_proj is not None:
            shift = block.time_emb_proj(block.nonlinearity(embedding))[0]
            block.conv1.bias = nn.Parameter(block.conv1.bias + shift, requires_grad=False)
            block.time_emb_proj = None


class FusedUpsampleConv(nn.Module):
    """
    Nearest-neighbor 2x upsampling fused with a 3x3 convolution, computed at low resolution: 4/9 of the work.

    Three rows of the upsampled picture cover two rows of the input, one of them twice. Each of the four
    output pixels of an input pixel (its phases) is therefore a 2x2 convolution of the input with summed
    weights.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Convert the weights of a 3x3 convolution with padding 1."""
        super().__init__()
        w = conv.weight.detach().float()  # (out, in, 3, 3); sums in float32 are rounded once
        rows = torch.stack([w[:, :, 0], w[:, :, 1] + w[:, :, 2], w[:, :, 0] + w[:, :, 1], w[:, :, 2]])
        left = torch.stack([rows[..., 0], rows[..., 1] + rows[..., 2]], dim=-1)
        right = torch.stack([rows[..., 0] + rows[..., 1], rows[..., 2]], dim=-1)
        # Per side: (vertical half, row of two, out, in, column of two). Then the four phases as output
        # channels.
        phases = [side.unflatten(0, (2, 2))[half] for half in (0, 1) for side in (left, right)]
        weight = torch.stack([phase.permute(1, 2, 0, 3) for phase in phases]).flatten(0, 1)
        self.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
        bias = torch.zeros(len(w)) if conv.bias is None else conv.bias.detach()
        self.bias = nn.Parameter(bias.to(conv.weight).repeat(4), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample and convolve (B, C, h, w) to (B, D, 2h, 2w)."""
        batch, _, height, width = x.shape
        phases = F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias).unflatten(1, (4, -1))
        out = phases.new_empty((batch, phases.shape[2], 2 * height, 2 * width))
        for phase in range(4):
            below, right = divmod(phase, 2)
            out[:, :, below::2, right::2] = phases[:, phase, :, below : below + height, right : right + width]
        return out


class _FusedUpsample(nn.Module):
    """A replacement for diffusers' `Upsample2D`, with the same call signature."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = FusedUpsampleConv(conv)

    def forward(self, hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return self.conv(hidden_states)


def fuse_upsampling(net: nn.Module) -> int:
    """Replace the `Upsample2D` layers with 3x3 convolutions of a network, in place; return their number."""
    count = 0
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            conv = getattr(child, "conv", None)
            if isinstance(child, Upsample2D) and isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                setattr(parent, name, _FusedUpsample(conv))
                count += 1
    return count
