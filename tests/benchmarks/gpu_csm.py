"""CSM at full size with random weights: time, memory and cancellation of generation."""

import time

import gpu_networks
import gpu_profile
import numpy as np
import torch
from tiny_csm import publish, reader_of, write_csm

from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.speech.tts.csm.model import ContextTurn, Sampling, load_csm

TEXT = "This sentence is about as long as the sentences are that people send to a voice like this one."
CONTEXT_S = 10


class GenerationCanceled(Exception):
    """Raised to cancel a generation, as in a canceled job."""


def write_full_size_model(folder, device):
    """Write a model of the published size (the defaults of the config class) in float32, as published."""
    from transformers import CsmConfig, CsmForConditionalGeneration

    reader, ids = reader_of()
    torch.manual_seed(0)
    with torch.device(device):
        model = CsmForConditionalGeneration(CsmConfig(**ids))
    for name, buffer in model.codec_model.named_buffers():
        if name.endswith("embed_sum"):
            buffer.normal_()
    publish(model, reader, folder / "csm-1b", "5GB")


def measure(device, folder):
    if device == "cpu":
        write_csm(folder)
    else:
        write_full_size_model(folder, device)
        torch.cuda.empty_cache()
    precisions = ("auto",) if device == "cpu" else ("auto", "fp16")
    return {precision: _measure_precision(device, folder, precision) for precision in precisions}


def _measure_precision(device, folder, precision):
    machine = RuntimeConfig(LocalModels(folder, folder / "hashes.json"), device=device, precision=precision)
    before, began = _allocated_bytes(device), time.perf_counter()
    voice = load_csm(machine)
    gpu_networks.synchronize(device)
    made = {"load_s": time.perf_counter() - began, "name": voice._device.name}
    made["weights_mb"] = (_allocated_bytes(device) - before) / 1e6
    made["parameters_millions"] = sum(p.numel() for p in voice.model.parameters()) / 1e6
    tone = np.sin(np.arange(CONTEXT_S * 24_000) / 20).astype(np.float32) * 0.3
    frames = 25 if device == "cpu" else 125
    for name, context in (("alone", []), ("after 10 s of its voice", [ContextTurn(TEXT, tone)])):
        made[name] = _measure_generation(voice, context, frames, device)
        made[name]["peak_mb"] -= before / 1e6
        print("voice", precision, name, made[name], flush=True)
    made["stopped"] = _measure_cancellation(voice, frames, device)
    if device == "cuda" and precision == "auto":
        made["computing, 25 frames"] = gpu_profile.profile_kernels(
            lambda: voice.generate(TEXT, [], 25, Sampling(), 1)
        )
    print("voice", precision, made, flush=True)
    return made


def _measure_generation(voice, context, frames, device):
    kept_turns = voice.trim_context(context, TEXT, frames) if device == "cuda" else []
    times = []
    for seed in (1, 2):
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        ticks, began = [], time.perf_counter()
        generation = voice.generate(
            TEXT, kept_turns, frames, Sampling(), seed, lambda _, t=ticks: t.append(time.perf_counter())
        )
        times.append(time.perf_counter() - began)
    seconds = len(generation.samples) / 24_000
    return {
        "first_s": times[0],
        "s": times[1],
        "of_sound_s": seconds,
        "s_for_a_second": times[1] / seconds if seconds else None,
        "until_first_frame_s": ticks[0] - began if ticks else None,
        "codec_s": began + times[1] - ticks[-1] if ticks else None,
        "ms_a_frame": 1000 * (ticks[-1] - ticks[0]) / max(1, len(ticks) - 1) if ticks else None,
        "ended": generation.ended,
        "finite": bool(np.isfinite(generation.samples).all()),
        "peak_mb": torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else 0,
    }


def _measure_cancellation(voice, frames, device):
    """Cancel at the tenth frame; return the time to stop, leaked memory, and the next result's error."""
    expected = voice.generate(TEXT, [], 20, Sampling(), 5).samples
    before, raised = _allocated_bytes(device), []

    def stop(count):
        if count == min(10, frames // 4):
            raised.append(time.perf_counter())
            raise GenerationCanceled

    try:
        voice.generate(TEXT, [], frames, Sampling(), 5, stop)
    except GenerationCanceled:
        took = time.perf_counter() - raised[0]
    else:
        return "it ended before the tenth frame"
    repeated = voice.generate(TEXT, [], 20, Sampling(), 5).samples
    difference = repeated.shape == expected.shape and float(np.abs(repeated - expected).max(initial=0))
    left_mb = (_allocated_bytes(device) - before) / 1e6
    return {
        "s": took,
        "left_mb": left_mb,
        "next_differs_by": difference,
        "of": float(np.abs(expected).max(initial=0)),
    }


def _allocated_bytes(device):
    gpu_networks.synchronize(device)
    return torch.cuda.memory_allocated() if device == "cuda" else 0


def measure_static_caches(device, folder):
    """Measure with static caches, for which transformers compiles both decoders (takes minutes)."""
    if device == "cpu":
        return "only on a GPU"
    if not (folder / "csm-1b").is_dir():
        write_full_size_model(folder, device)
    voice = load_csm(RuntimeConfig(LocalModels(folder, folder / "hashes.json"), device=device))
    for model in (voice.model, voice.model.depth_decoder):
        model.generation_config.cache_implementation = "static"
    made = {}
    for name, frames in (("first", 125), ("same length", 125), ("other length", 60)):
        began = time.perf_counter()
        generation = voice.generate(TEXT, [], frames, Sampling(), 1)
        made[name] = {"s": time.perf_counter() - began, "of_sound_s": len(generation.samples) / 24_000}
        print("voice, static caches", name, made[name], flush=True)
    return made
