"""Folding merges BatchNorm into its convolution without changing what comes out."""

import pytest
import torch
from torch import nn

from musetalk_core.networks.convnet import fold_batch_norm


def normed(bias):
    net = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5))
    generator = torch.Generator().manual_seed(0)
    for norm in (net[1], net[3]):
        for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            values.copy_(torch.rand(5, generator=generator) + 0.5)
    return net.eval()


@pytest.mark.parametrize("bias", [True, False])
def test_the_folded_net_computes_the_same(bias):
    net = normed(bias)
    x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = net(x)
        fold_batch_norm(net)
        torch.testing.assert_close(net(x), before, rtol=0, atol=1e-6)


def test_only_a_norm_right_behind_a_convolution_is_folded():
    net = normed(bias=True)

    fold_batch_norm(net)

    assert isinstance(net[1], nn.Identity)
    assert isinstance(net[3], nn.BatchNorm2d)
