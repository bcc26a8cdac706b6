"""
CodeFormer, face restoration: a transformer predicts the codes of a clean face, a VQGAN generator draws it.

Attribute names are the keys of the official `codeformer.pth`, whose licence (S-Lab License 1.0) allows no
commercial use. Architecture: Zhou et al., arXiv 2206.11253.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

from musetalk_core.errors import InputError
from musetalk_core.networks.convnet import load_net
from musetalk_core.networks.vqgan import OFFICIAL_SIZE, Codebook, Encoder, Generator, ResidualBlock, VqganSize
from musetalk_core.runtime.device import Device

INPUT_PX: Final = 512
_FUSED_LEVELS: Final = slice(1, 5)
"""Levels where features of the input are fused in: 256, 128, 64 and 32 pixels, not 512 and 16."""

_STATISTICS_EPS: Final = 1e-5


class CodeFormer(nn.Module):
    """The whole network: (B, 3, side, side) float32 RGB, -1..1 -> restored faces of the same form."""

    def __init__(
        self, size: VqganSize = OFFICIAL_SIZE, features: int = 512, heads: int = 8, layers: int = 9
    ) -> None:
        """
        Build the network; the defaults are those of the official weights, other values are for tests.

        Args:
            size:     of the autoencoder.
            features: width of the transformer.
            heads:    attention heads of the transformer.
            layers:   layers of the transformer.
        """
        super().__init__()
        self._size = size
        self.encoder = Encoder(size)
        self.quantize = Codebook(size)
        self.generator = Generator(size)
        self.position_emb = nn.Parameter(torch.empty(size.code_side**2, features))
        self.feat_emb = nn.Linear(size.code_channels, features)
        self.ft_layers = nn.ModuleList(_TransformerLayer(features, heads) for _ in range(layers))
        self.idx_pred_layer = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, size.codebook_size, bias=False)
        )
        fused = zip(size.sides[_FUSED_LEVELS], size.channels[_FUSED_LEVELS], strict=True)
        self.fuse_convs_dict = nn.ModuleDict({str(side): _Fusion(channels) for side, channels in fused})

    def forward(self, faces: Tensor, fidelity: float = 0.5) -> Tensor:
        """
        Restore faces that are aligned to the FFHQ template.

        Args:
            faces:    (B, 3, 512, 512) float32 RGB, -1..1.
            fidelity: 0..1, how much of the input's own features is used: 0 draws the codes alone, which looks
                best and changes the person most; 1 stays closest to the input.

        Returns:
            Faces of the same shape, not clipped: values may leave -1..1 a little.

        Raises:
            InputError: the shape or the fidelity is another one.
        """
        side = self._size.side
        if faces.ndim != 4 or faces.shape[1:] != (3, side, side):
            raise InputError(f"faces must be (B, 3, {side}, {side}), not {tuple(faces.shape)}")
        if not 0 <= fidelity <= 1:
            raise InputError(f"the fidelity must be 0 to 1, not {fidelity}")
        kept_sides = [int(name) for name in self.fuse_convs_dict] if fidelity > 0 else []
        features, of_input = self.encoder(faces, kept_sides)
        x = _with_statistics_of(self._look_up(self._code_indices(features)), features)
        for index, block in enumerate(self.generator.blocks):
            x = block(x)
            level = self.generator.fusion_sides.get(index)
            if level in of_input:
                x = self.fuse_convs_dict[str(level)](of_input.pop(level), x, fidelity)
        return x

    def _code_indices(self, features: Tensor) -> Tensor:
        """Return the most likely code of each place, (B, places), for (B, channels, h, w) features."""
        x = self.feat_emb(features.flatten(2).transpose(1, 2))
        for layer in self.ft_layers:
            x = layer(x, self.position_emb)
        return self.idx_pred_layer(x).argmax(dim=2)

    def _look_up(self, indices: Tensor) -> Tensor:
        """Return the codes of (B, places) indices as a map, (B, code_channels, h, w)."""
        side = self._size.code_side
        return self.quantize.embedding(indices).transpose(1, 2).unflatten(2, (side, side))


def load_codeformer(
    path: Path, device: Device, build_net: Callable[[], CodeFormer] = CodeFormer
) -> CodeFormer:
    """
    Load CodeFormer from `codeformer.pth`. The network always runs in float32, the only published precision.

    Args:
        path:      the weight file.
        device:    where to run; call the network within `torch.inference_mode()` with inputs on it.
        build_net: another size, for tests.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or belongs to another network.
    """
    return load_net(build_net, path, device)


class _TransformerLayer(nn.Module):
    """Self-attention whose queries and keys know their place, and a two-layer network; both residual."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(features, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(features, 2 * features), nn.Linear(2 * features, features)
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        value = self.norm1(x)
        query = value + positions
        x = x + self.self_attn(query, query, value, need_weights=False)[0]
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class _Fusion(nn.Module):
    """Scale and shift the generator's features by what the encoder saw at the same level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encode_enc = ResidualBlock(2 * channels, channels)
        self.scale, self.shift = _condition(channels), _condition(channels)

    def forward(self, of_input: Tensor, x: Tensor, weight: float) -> Tensor:
        joint = self.encode_enc(torch.cat((of_input, x), dim=1))
        return x + weight * (x * self.scale(joint) + self.shift(joint))


def _condition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
    )


def _with_statistics_of(x: Tensor, other: Tensor) -> Tensor:
    """Give each channel of a map the mean and deviation of another's: colour and light of the input."""
    (variance, mean), (wanted_variance, wanted_mean) = (
        torch.var_mean(one, dim=(2, 3), keepdim=True) for one in (x, other)
    )
    gain = torch.sqrt((wanted_variance + _STATISTICS_EPS) / (variance + _STATISTICS_EPS))
    return (x - mean) * gain + wanted_mean
