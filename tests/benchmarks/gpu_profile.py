"""Profile of one rendering: seconds per stage and per batch, and time in GPU kernels."""

import time
from collections import defaultdict
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch

from musetalk_core.engines.musetalk import engine, models
from musetalk_core.engines.musetalk.generator import Generator, _UnetAndVae
from musetalk_core.formats.chunk_crops import CropWriter
from musetalk_core.networks.fast_unet import FoldedUNet
from musetalk_core.rendering import render_chunk

STAGES = {
    "writer: faces": (render_chunk._ChunkRenderer, "_face_frame"),
    "writer: write": (CropWriter, "write"),
    "writer: waiting": (Future, "result"),
    "device: whole batch": (render_chunk._ChunkRenderer, "_render_batch"),
    "device: features": (engine.MuseTalkEngine, "audio_features"),
    "device: latents": (engine, "from_bytes"),
    "device: UNet from the shelf": (models.Networks, "_unet"),
    "device: VAE from the shelf": (models.Networks, "vae"),
    "device: faces": (Generator, "render_faces"),
    "device: UNet asked for": (FoldedUNet, "forward"),
    "device: decoder asked for": (_UnetAndVae, "decode"),
}
"""Functions that are timed, by stage; stages overlap where one function calls another."""


@contextmanager
def profile_stages():
    """Yield a dict with the seconds of each stage and a list with (frames, ms per frame) of each batch."""
    stage_s, batches = defaultdict(float), []
    with ExitStack() as stack:
        for name, (where, what) in STAGES.items():
            stack.enter_context(
                mock.patch.object(where, what, _wrap_timed(getattr(where, what), stage_s, name))
            )
        render_part = Generator._render_batch

        def timed_part(self, nets, latents, tokens):
            began = time.perf_counter()
            made = render_part(self, nets, latents, tokens)
            batches.append((len(latents), round(1000 * (time.perf_counter() - began) / len(latents), 2)))
            return made

        stack.enter_context(mock.patch.object(Generator, "_render_batch", timed_part))
        yield stage_s, batches


def _wrap_timed(call, took, name):
    def timed(*args, **kwargs):
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            took[name] += time.perf_counter() - began

    return timed


def profile_kernels(work):
    """Run a function and return its wall time, the time in GPU kernels, and the 10 slowest kernels."""
    from torch.profiler import ProfilerActivity, profile

    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
        wall = time.perf_counter() - began
    rows = sorted(profiler.key_averages(), key=lambda row: -row.self_device_time_total)
    kernels = sum(row.self_device_time_total for row in rows) / 1e6
    slowest = [(row.key[:70], row.count, round(row.self_device_time_total / 1000, 1)) for row in rows[:10]]
    event_count = sum(row.count for row in rows)
    return {
        "wall_s": round(wall, 3),
        "kernels_s": round(kernels, 3),
        "events": event_count,
        "most_ms": slowest,
    }
