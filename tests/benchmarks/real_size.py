"""
Speed of the full-size UNet and decoder on the CPU: each variant against plain diffusers calls.

Weights are random: time does not depend on them. `real_size.py [FRAMES] [ROUNDS] [VARIANT ...]` runs the
variants in turn and reports the best round of each.
"""

import sys
import time

import torch
from figures import record
from real_weights import create_unet, create_vae

from musetalk_core.networks.fast_unet import FoldedUNet, fuse_upsampling


class PlainNetworks:
    """UNet and VAE called as the original program calls them."""

    name = "plain diffusers"

    def __init__(self):
        self.unet, self.vae = create_unet(), create_vae()

    def __call__(self, sample, context):
        predicted = self.unet(sample, torch.tensor([0]), encoder_hidden_states=context).sample
        return self.vae.decode(predicted / 0.18215).sample


class FoldedNetworks:
    """The folded UNet and the decoder with any combination of the options."""

    def __init__(self, doubling=False, singly=False, channels_last=False, compiled=False):
        options = {
            "doubling": doubling,
            "decoded singly": singly,
            "channels_last": channels_last,
            "compile": compiled,
        }
        self.singly = singly
        self.name = " + ".join(["lean", *(name for name, on in options.items() if on)])
        self.unet, self.vae = FoldedUNet(create_unet()), create_vae()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        if doubling:
            fuse_upsampling(self.unet)
            fuse_upsampling(self.vae.decoder)
        for net in (self.unet, self.vae):
            net.to(memory_format=self.layout)
        self.decoder = self.vae.decoder
        if compiled:
            self.unet, self.decoder = torch.compile(self.unet), torch.compile(self.decoder)

    def __call__(self, sample, context):
        predicted = self.unet(sample.contiguous(memory_format=self.layout), context)
        z = self.vae.post_quant_conv(predicted / 0.18215)
        if not self.singly:
            return self.decoder(z)
        return torch.cat([self.decoder(z[i : i + 1]) for i in range(len(z))])


VARIANTS = {
    "plain": PlainNetworks,
    "lean": FoldedNetworks,
    "doubling": lambda: FoldedNetworks(doubling=True),
    "singly": lambda: FoldedNetworks(doubling=True, singly=True),
    "channels_last": lambda: FoldedNetworks(doubling=True, singly=True, channels_last=True),
    "compile": lambda: FoldedNetworks(doubling=True, singly=True, compiled=True),
}


@torch.inference_mode()
def main(frames=8, rounds=2, names=tuple(VARIANTS)):
    sample, context = torch.randn(frames, 8, 32, 32), torch.randn(frames, 50, 384)
    best = dict.fromkeys(names, float("inf"))
    for _ in range(rounds):
        for name in names:
            variant = VARIANTS[name]()
            variant(sample[:1], context[:1])
            if name == "compile":
                variant(sample, context)
            began = time.monotonic()
            variant(sample, context)
            best[name] = min(best[name], (time.monotonic() - began) / frames)
            print(
                f"{variant.name}: {best[name]:.2f} s per frame, {best[names[0]] / best[name]:.2f} times",
                flush=True,
            )
            del variant
    record(**{f"{name}_frame_s": seconds for name, seconds in best.items()})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *([tuple(sys.argv[3:])] if sys.argv[3:] else []))
