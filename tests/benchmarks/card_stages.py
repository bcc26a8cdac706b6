"""Profile of one rendering: seconds per stage and per batch, and time in GPU kernels."""

import time
from collections import defaultdict
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch

from musetalk_core import render
from musetalk_core.crops import CropWriter
from musetalk_core.engines.musetalk import engine, networks
from musetalk_core.engines.musetalk.generate import Generator, _Nets
from musetalk_core.nets.lean import LeanUNet

STAGES = {
    "writer: faces": (render._Work, "_face"),
    "writer: write": (CropWriter, "write"),
    "writer: waiting": (Future, "result"),
    "device: whole batch": (render._Work, "_render"),
    "device: features": (engine.MuseTalkEngine, "features"),
    "device: latents": (engine, "unpacked"),
    "device: UNet from the shelf": (networks.Networks, "_unet"),
    "device: VAE from the shelf": (networks.Networks, "vae"),
    "device: faces": (Generator, "faces"),
    "device: UNet asked for": (LeanUNet, "forward"),
    "device: decoder asked for": (_Nets, "decoded"),
}
"""Functions that are timed, by stage; stages overlap where one function calls another."""


@contextmanager
def stages():
    """Yield a dict with the seconds of each stage and a list with (frames, ms per frame) of each batch."""
    took, batches = defaultdict(float), []
    with ExitStack() as stack:
        for name, (where, what) in STAGES.items():
            stack.enter_context(mock.patch.object(where, what, _timed(getattr(where, what), took, name)))
        part = Generator._part

        def noted(self, nets, latents, tokens):
            began = time.perf_counter()
            made = part(self, nets, latents, tokens)
            batches.append((len(latents), round(1000 * (time.perf_counter() - began) / len(latents), 2)))
            return made

        stack.enter_context(mock.patch.object(Generator, "_part", noted))
        yield took, batches


def _timed(call, took, name):
    def timed(*args, **kwargs):
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            took[name] += time.perf_counter() - began

    return timed


def computing(work):
    """Run a function and return its wall time, the time in GPU kernels, and the 10 slowest kernels."""
    from torch.profiler import ProfilerActivity, profile

    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        torch.cuda.synchronize()
        wall = time.perf_counter() - began
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_device_time_total)
    kernels = sum(row.self_device_time_total for row in rows) / 1e6
    most = [(row.key[:70], row.count, round(row.self_device_time_total / 1000, 1)) for row in rows[:10]]
    launched = sum(row.count for row in rows)
    return {"wall_s": round(wall, 3), "kernels_s": round(kernels, 3), "events": launched, "most_ms": most}
