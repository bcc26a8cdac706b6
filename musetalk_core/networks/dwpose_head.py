"""
RTMPose's SimCC head: one activation vector over x and one over y per key point, and their decoding.

Attribute names are the keys of the official weight file.
"""

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

POINT_COUNT: Final = 133
X_BINS: Final = 576
Y_BINS: Final = 768
"""A bin is half a pixel of the 288x384 input."""

_GRID_CELLS: Final = 12 * 9
_WIDTH: Final = 256
_GATE_WIDTH: Final = 512
_ATTENTION_WIDTH: Final = 128

MIRRORED_POINTS: Final = (
    *(0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15),  # body
    *(20, 21, 22, 17, 18, 19),  # feet
    *range(39, 22, -1),  # the outline of the face
    *range(49, 39, -1),  # brows
    *range(50, 54),  # the ridge of the nose
    *range(58, 53, -1),  # nostrils
    *(68, 67, 66, 65, 70, 69, 62, 61, 60, 59, 64, 63),  # eyes
    *range(77, 70, -1),  # outer lips, upper
    *range(82, 77, -1),  # outer lips, lower
    *range(87, 82, -1),  # inner lips, upper
    *range(90, 87, -1),  # inner lips, lower
    *range(112, 133),  # hands
    *range(91, 112),
)
"""Index of each key point's counterpart in a mirrored picture."""


class SimccHead(nn.Module):
    """SimCC head: (B, 1024, 12, 9) features -> (B, 133, 576) and (B, 133, 768) activations over x and y."""

    def __init__(self) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(1024, POINT_COUNT, 7, padding=3)
        self.mlp = nn.Sequential(_ScaleNorm(_GRID_CELLS), nn.Linear(_GRID_CELLS, _WIDTH, bias=False))
        self.gau = _GatedAttention()
        self.cls_x = nn.Linear(_WIDTH, X_BINS, bias=False)
        self.cls_y = nn.Linear(_WIDTH, Y_BINS, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Apply self-attention across the key points, then classify their x and y bins."""
        x = self.gau(self.mlp(self.final_layer(features).flatten(2)))
        return self.cls_x(x), self.cls_y(x)


class _ScaleNorm(nn.Module):
    """Scale normalization: vectors divided by their root mean square, times one learned factor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.empty(1))
        self._factor = width**-0.5

    def forward(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=2, keepdim=True) * self._factor
        return x / size.clamp(min=1e-5) * self.g


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(_WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _GatedAttention(nn.Module):
    """Gated attention unit: attention with squared ReLU instead of softmax, gated, plus the scaled input."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(2, _ATTENTION_WIDTH))
        self.beta = nn.Parameter(torch.empty(2, _ATTENTION_WIDTH))
        self.o = nn.Linear(_GATE_WIDTH, _WIDTH, bias=False)
        self.uv = nn.Linear(_WIDTH, 2 * _GATE_WIDTH + _ATTENTION_WIDTH, bias=False)
        self.ln = _ScaleNorm(_WIDTH)
        self.res_scale = _Scale()

    def forward(self, x: Tensor) -> Tensor:
        gate, value, base = F.silu(self.uv(self.ln(x))).split(
            (_GATE_WIDTH, _GATE_WIDTH, _ATTENTION_WIDTH), dim=2
        )
        query, key = (base[:, :, None] * self.gamma + self.beta).unbind(dim=2)
        weights = F.relu(query @ key.transpose(1, 2) / math.sqrt(_ATTENTION_WIDTH)).square()
        return self.res_scale(x) + self.o(gate * (weights @ value))


def undo_mirroring(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Convert (B, 133, bins) activations of mirrored inputs: reverse x, swap left and right key points."""
    partners = list(MIRRORED_POINTS)
    return x.flip(2)[:, partners], y[:, partners]


def decode_peaks(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the positions and scores of the activation peaks.

    Args:
        x: (..., K, 576) activations over x.
        y: (..., K, 768) activations over y.

    Returns:
        (..., K, 2) int64 bins x, y: the first of equal peaks, -1 if the score is not positive; and (..., K)
        scores: the lower of both peaks.
    """
    (peak_x, bin_x), (peak_y, bin_y) = x.max(dim=-1), y.max(dim=-1)
    score = torch.minimum(peak_x, peak_y)
    bins = torch.stack((bin_x, bin_y), dim=-1)
    return bins.masked_fill((score <= 0)[..., None], -1), score
