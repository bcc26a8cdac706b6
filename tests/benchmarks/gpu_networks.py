"""Speed of UNet and decoder at full size on a GPU, by variant of calling them, precision and batch size."""

import time

import torch
from real_weights import create_unet, create_vae
from torch import nn

from musetalk_core.networks.fast_unet import FoldedUNet, fuse_upsampling

SCALE = 0.18215
MIN_TIMED_S, MIN_CALLS = 0.25, 3


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_per_call(call, device):
    """Return the mean seconds per call, after two warm-up calls in which kernels are chosen."""
    for _ in range(2):
        call()
    synchronize(device)
    began, calls = time.perf_counter(), 0
    while calls < MIN_CALLS or time.perf_counter() - began < MIN_TIMED_S:
        call()
        synchronize(device)
        calls += 1
    return (time.perf_counter() - began) / calls


class NetworkVariant:
    """One variant of running UNet and decoder: (B, 8, 32, 32), (B, 50, 384) -> (B, 3, 256, 256)."""

    def __init__(self, device, dtype, lean=True, doubling=False, channels_last=False, compiled=False):
        with torch.device(device):
            self.unet, self.vae = (nn.Module.to(net(), dtype) for net in (create_unet, create_vae))
        self.step = torch.tensor([0], device=device)
        self.lean, self.decoder = lean, self.vae.decoder
        if lean:
            self.unet = FoldedUNet(self.unet)
        if doubling:
            fuse_upsampling(self.unet)
            fuse_upsampling(self.decoder)
        if channels_last:
            self.unet.to(memory_format=torch.channels_last)
            self.decoder.to(memory_format=torch.channels_last)
        if compiled:
            self.unet.compile()
            self.decoder.compile()

    @torch.inference_mode()
    def __call__(self, sample, context):
        if not self.lean:
            return self.vae.decode(self.predicted(sample, context) / SCALE).sample
        return self.decoder(self.vae.post_quant_conv(self.predicted(sample, context) / SCALE))

    @torch.inference_mode()
    def predicted(self, sample, context):
        if not self.lean:
            return self.unet(sample, self.step, encoder_hidden_states=context).sample
        return self.unet(sample, context)


VARIANTS = {
    "plain diffusers": {"lean": False},
    "lean": {},
    "lean, channels last": {"channels_last": True},
    "lean, doubling": {"doubling": True},
    "lean, channels last, doubling": {"channels_last": True, "doubling": True},
}
COMPILED_VARIANTS = {
    "lean, compiled": {"compiled": True},
    "lean, channels last, compiled": {"compiled": True, "channels_last": True},
}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def measure(device, precision, name, options, sizes):
    """Return one row per batch size: milliseconds per frame, and peak memory in excess of the weights."""
    variant, rows = NetworkVariant(device, DTYPES[precision], **options), []
    for size in sizes:
        row = _measure_batch_size(variant, device, precision, size)
        print(
            f"{name:32} {precision} x{size:<3} {row['ms']:8.2f} ms per frame (UNet {row['unet_ms']:6.2f}), "
            f"peak {row['peak_mb']:6.0f} MB, first call {row['first_s']:5.1f} s",
            flush=True,
        )
        rows.append({"way": name, "precision": precision, **row})
    return rows


def _measure_batch_size(variant, device, precision, size):
    sample = torch.randn(size, 8, 32, 32, device=device, dtype=DTYPES[precision])
    context = torch.randn(size, 50, 384, device=device, dtype=DTYPES[precision])
    before = 0
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    began = time.perf_counter()
    variant(sample, context)
    synchronize(device)
    first = time.perf_counter() - began
    total_s = seconds_per_call(lambda: variant(sample, context), device)
    unet_s = seconds_per_call(lambda: variant.predicted(sample, context), device)
    peak = torch.cuda.max_memory_allocated() - before if device == "cuda" else 0
    return {
        "batch": size,
        "ms": 1000 * total_s / size,
        "unet_ms": 1000 * unet_s / size,
        "peak_mb": peak / 1e6,
        "first_s": first,
    }


def measure_output_paths(device, size):
    """Return milliseconds per frame from a float16 batch to BGR bytes: the original's way and ours."""
    images = torch.randn(size, 3, 256, 256, device=device, dtype=DTYPES["fp16"])

    def plain():
        scaled = (images / 2 + 0.5).clamp(0, 1)
        pixels = scaled.detach().cpu().permute(0, 2, 3, 1).float().numpy()
        return (pixels * 255).round().astype("uint8")[..., ::-1].copy()

    def ours():
        shown = (images.float() / 2 + 0.5).clamp(0, 1).mul_(255).round_().to(torch.uint8)
        return shown.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    return {
        name: 1000 * seconds_per_call(call, device) / size
        for name, call in (("plain", plain), ("ours", ours))
    }
