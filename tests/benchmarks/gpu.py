"""
Benchmarks of the neural models on a GPU: `./run bench gpu`, or `gpu.py [--json FILE] [--only SECTION ...]`.

    golden        difference from the original's golden vectors, and the error of half precision
    copies        tensors copied from the device to the host
    finite        overflow in half precision
    batch         batch size chosen by measuring
    memory        out of memory on the device, and memory released by the model cache
    job           prepare 50 frames, render 250, and the time of each rendering stage
    faces         detector, pose, parser, encoder of the VAE
    speed         variants of calling UNet and decoder
    voice         CSM at full size
    voice_static  CSM at full size with static caches, compiled (takes minutes)
    hearing       Whisper medium and large-v3
    compiled      variants of calling UNet and decoder with torch.compile (takes minutes)

Weights are random, or the substitutes of the golden vectors: time and memory do not depend on values. Without
a GPU the script prints a message and exits. `--device cpu` tests the script with small networks; its numbers
are not meaningful.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
sys.path.append(str(Path(__file__).resolve().parent))
import gpu_csm
import gpu_networks
import gpu_profile
import gpu_whisper
import real_weights
from golden_chain import FRAMES, expected_frames, run_chain
from golden_data import COMMITTED, load, weights
from media import long_speech, talking_head

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts
from musetalk_core.engines.musetalk.batch_size import BatchSize
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.generator import Generator
from musetalk_core.engines.musetalk.models import Networks
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions, resolve_options
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowFile, write_float32_rows
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.networks.bisenet import load_parser
from musetalk_core.networks.dwpose import load_pose
from musetalk_core.networks.s3fd import load_detector
from musetalk_core.networks.whisper_encoder import load_whisper_encoder
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.device import choose_device
from musetalk_core.runtime.model_cache import model_cache

RATE = Fraction(25)
PRECISION_NAMES = ("fp32", "fp16", "bf16")
BYTES_PER_MB = 1e6


class BenchContext:
    """Device, working folder and model folders that the sections share."""

    def __init__(self, device, folder):
        self.device, self.folder, self.is_small = device, folder, device == "cpu"

    @cached_property
    def golden(self):
        weights.write_models(self.folder / "golden")
        return self.folder / "golden"

    @cached_property
    def models(self):
        if self.is_small:
            return self.golden
        real_weights.write_weights(self.folder / "real")
        return self.folder / "real"

    def machine(self, root=None, **more):
        layout = LocalModels(root or self.models, self.folder / "hashes.json")
        return RuntimeConfig(layout, device=self.device, **{"landmarks": "mesh", **more})

    def networks(self, **more):
        return Networks(resolve_options(MuseTalkEngineOptions()), self.machine(**more))

    def stop(self):
        gpu_networks.synchronize(self.device)

    def allocated(self):
        self.stop()
        return torch.cuda.memory_allocated() if self.device == "cuda" else 0


def golden(context):
    """Differences (8-bit levels, encoder states) from the committed vectors for each precision."""
    out, frames32 = {}, {}
    for precision in PRECISION_NAMES[:1] if context.is_small else ("fp32 tf32", *PRECISION_NAMES):
        for version in ("v15", "v1"):
            machine = context.machine(context.golden, precision=precision[:4])
            with tf32("tf32" in precision):
                run = run_chain(COMMITTED, version, machine)
            frames = np.stack([run.composited(n) for n in range(FRAMES)]).astype(int)
            faces = np.stack(list(run.crops.values())).astype(int)
            expected_faces = load(COMMITTED, "chain")[f"faces_{version}_s4"]
            row = {"faces": difference_stats(faces[: len(expected_faces), ::4, ::4], expected_faces)}
            expected = expected_frames(COMMITTED, version)
            row["frames"] = difference_stats([frames[n] for n in expected], list(expected.values()))
            if precision == "fp32":
                frames32[version] = frames, faces
            elif version in frames32:
                row["frames_from_fp32"] = difference_stats(frames, frames32[version][0])
                row["faces_from_fp32"] = difference_stats(faces, frames32[version][1])
            row["counts"] = str(run.engine.render_stats)
            out[f"{precision} {version}"] = row
            print(precision, version, row, flush=True)
    out["states"] = {
        p: encoder_state_error(context, p)
        for p in (PRECISION_NAMES[:1] if context.is_small else PRECISION_NAMES)
    }
    print("encoder states", out["states"], flush=True)
    return out


@contextmanager
def tf32(is_on):
    """Force TF32 on by patching `choose_device`, which would switch it off."""
    from musetalk_core.runtime import device

    real = device.choose_device
    if is_on:
        from musetalk_core.engines.musetalk import models as networks

        def choose_with_tf32(*words):
            made = real(*words)
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
            return made

        networks.choose_device = choose_with_tf32
    try:
        yield
    finally:
        if is_on:
            networks.choose_device = real


def difference_stats(actual, expected):
    difference = np.abs(np.stack(actual).astype(float) - np.stack(expected))
    return {
        "max": float(difference.max()),
        "mean": round(float(difference.mean()), 6),
        "share_over_0": round(float((difference > 0).mean()), 6),
        "share_over_2": round(float((difference > 2).mean()), 6),
    }


def encoder_state_error(context, precision):
    audio = load(COMMITTED, "audio")
    encoder = load_whisper_encoder(context.golden / "whisper", choose_device(context.device, precision))
    actual = encoder.encode_segment(audio["speech"][:480000].astype(np.float32) / 32768)
    reference = load_whisper_encoder(context.golden / "whisper", choose_device("cpu", "fp32"))
    expected = reference.encode_segment(audio["speech"][:480000].astype(np.float32) / 32768)
    return {"from_cpu_fp32": float(np.abs(actual - expected).max()), "of": float(np.abs(expected).max())}


def speed(context):
    if context.is_small:
        return gpu_networks.measure_output_paths(context.device, 2)
    rows = []
    for precision in ("fp16", "bf16"):
        for name, options in gpu_networks.VARIANTS.items():
            rows += gpu_networks.measure(context.device, precision, name, options, (4, 8, 16, 32, 64))
            torch.cuda.empty_cache()
    rows += gpu_networks.measure(context.device, "fp32", "lean", {}, (8, 32))
    torch.backends.cudnn.benchmark = True
    for name in ("lean", "lean, channels last"):
        title = f"{name}, cudnn.benchmark"
        rows += gpu_networks.measure(context.device, "fp16", title, gpu_networks.VARIANTS[name], (8, 32))
        torch.cuda.empty_cache()
    torch.backends.cudnn.benchmark = False
    paths = {size: gpu_networks.measure_output_paths(context.device, size) for size in (8, 32)}
    print("to BGR bytes, ms per frame:", paths, flush=True)
    return {"rows": rows, "output_ms": paths}


def compiled(context):
    rows = []
    if not context.is_small:
        for name, options in gpu_networks.COMPILED_VARIANTS.items():
            rows += gpu_networks.measure(context.device, "fp16", name, options, (32,))
            torch.compiler.reset()
    return rows


def random_inputs(count, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (count, 8, 32, 32), (count, 50, 384)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def batch(context):
    """Batch size that BatchSize selects for the frames of a chunk, and the time until it is selected."""
    nets, made = context.networks(), {}
    nets._unet(), nets.vae()
    max_frames, count = (4, 12) if context.is_small else (64, 500)
    for frames in (min(max_frames, 32), max_frames):
        size = BatchSize(frames, 4)
        generator = Generator(nets.device, size)
        latents, tokens = random_inputs(frames)
        steps, done, began = [], 0, time.perf_counter()
        while done < count:
            before = time.perf_counter()
            generator.render_faces(nets._unet(), nets.vae(), latents, tokens)
            done += frames
            steps.append((done, size.size, round(1000 * (time.perf_counter() - before) / frames, 2)))
            if size._is_fixed and done >= 4 * frames:
                break
        made[frames] = {"size": size.size, "s": time.perf_counter() - began, "steps": steps}
        print("batch, handed", frames, made[frames], flush=True)
    return made


def memory(context):
    """Out of memory on the device, and memory released by the model cache."""
    out = {"shelf": measure_model_cache(context)}
    if context.device == "cuda":
        out["out_of_memory"] = measure_out_of_memory(context)
    print(out, flush=True)
    return out


def measure_model_cache(context):
    before = context.allocated()
    tiny_networks = context.networks(memory_bytes=1, idle_s=1.0)
    cache = model_cache(1, 1.0)
    tiny_networks._unet()
    with_unet, size = context.allocated(), cache.bytes
    tiny_networks.vae()
    with_vae, keys = context.allocated(), len(cache.keys)
    deadline = time.monotonic() + 20
    while cache.keys and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    allocated = {
        "before": before,
        "unet": with_unet,
        "vae in its place": with_vae,
        "idle": context.allocated(),
    }
    return {name: round(value / BYTES_PER_MB, 1) for name, value in allocated.items()} | {
        "on_shelf_mb": size / BYTES_PER_MB,
        "keys_after_vae": keys,
    }


def measure_out_of_memory(context):
    nets = context.networks()
    latents, tokens = random_inputs(40)
    expected = Generator(nets.device, BatchSize(5, 5)).render_faces(nets._unet(), nets.vae(), latents, tokens)
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    base = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    expected_at_32 = Generator(nets.device, BatchSize(32, 32)).render_faces(
        nets._unet(), nets.vae(), latents, tokens
    )
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    out = {
        "base_mb": base / BYTES_PER_MB,
        "peak_mb_of_32": peak / BYTES_PER_MB,
        "32_against_5": difference_stats(expected_at_32, expected),
    }
    for share in (0.6, 0.2):
        torch.cuda.set_per_process_memory_fraction((base + share * (peak - base)) / whole)
        generator = Generator(nets.device, BatchSize(32, 32))
        faces = generator.render_faces(nets._unet(), nets.vae(), latents, tokens)
        torch.cuda.set_per_process_memory_fraction(1.0)
        out[f"{share:.0%} of that"] = {
            "counts": str(generator.render_stats),
            "from_wanted": difference_stats(faces, expected),
        }
        torch.cuda.empty_cache()
    return out


def finite(context):
    """Latents that overflow half precision: rendered again in float32, with the same result as float32."""
    out, precision = {}, "bf16" if context.is_small else "fp16"
    networks_fp32 = context.networks(precision="fp32")
    latents, tokens = random_inputs(4)
    huge = latents.copy()
    huge[1] *= 1e5  # one frame of the batch
    expected = Generator(networks_fp32.device, BatchSize(4, 4)).render_faces(
        networks_fp32._unet(), networks_fp32.vae(), huge, tokens
    )
    networks_half = context.networks(precision=precision)
    generator = Generator(networks_half.device, BatchSize(4, 4))
    began = time.perf_counter()
    actual = generator.render_faces(networks_half._unet(), networks_half.vae(), huge, tokens)
    out["retried_s"] = time.perf_counter() - began
    out["retries"], out["from_fp32"] = generator.render_stats.fp32_retries, difference_stats(actual, expected)
    began = time.perf_counter()
    generator.render_faces(networks_half._unet(), networks_half.vae(), latents, tokens)
    out["then_s"] = time.perf_counter() - began
    kinds = Counter(
        str(p.dtype) for net in (networks_half._unet(), networks_half.vae()) for p in net.parameters()
    )
    out["dtypes_after"] = dict(kinds)
    print("finite", out, flush=True)
    return out


class CopyRecorder(TorchDispatchMode):
    """Records every tensor that is copied from the device to the host."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        first = next((a for a in args if isinstance(a, torch.Tensor)), None)
        leaves = isinstance(made, torch.Tensor) and made.device.type == "cpu"
        is_scalar = func is torch.ops.aten._local_scalar_dense.default
        if first is not None and first.device.type == "cuda" and (leaves or is_scalar):
            self.seen.append((str(func), str(first.dtype), first.nbytes))
        return made


def copies(context):
    nets = context.networks()
    generator = Generator(nets.device, BatchSize(8, 8))
    latents, tokens = random_inputs(2 if context.is_small else 8)
    nets._unet(), nets.vae()
    with CopyRecorder() as recorder:
        faces = generator.render_faces(nets._unet(), nets.vae(), latents, tokens)
    made = {"noted": recorder.seen, "bytes_of_the_faces": sum(face.nbytes for face in faces)}
    print("copies", made, flush=True)
    return made


def job(context):
    """Prepare, encode audio, render and compose with the engine, as a flow does, without video encoding."""
    source_frames, frames = (4, 8) if context.is_small else (50, 250)
    size, face = ((320, 240), 120) if context.is_small else ((1280, 720), 300)
    video = talking_head(context.folder / "head.mp4", source_frames / 25, size=size, face_px=face)
    speech = long_speech(context.folder / "speech.wav", frames / 25)
    made = {}
    for channels_last in (False, True):
        folder = context.folder / f"job{channels_last}"
        engine = MuseTalkEngine(MuseTalkEngineOptions(), context.machine(channels_last=channels_last))
        phase_s, began = {}, time.perf_counter()

        def done(phase, took=phase_s):
            nonlocal began
            took[phase], began = round(time.perf_counter() - began, 3), time.perf_counter()

        for name in ("first", "avatar", "heard", "crops", "again"):
            (folder / name).mkdir(parents=True)
        request = prepare.AvatarRequest(video, "0" * 64)
        for name, phase in (("first", "prepare and load"), ("avatar", "prepare")):
            prepare.prepare_avatar(request, engine, folder / name)
            loaded = archive.load_avatar(folder / name)
            avatar = encode_parts(loaded, engine, video, folder / f"parts of {name}")
            done(phase)
        decode_speech(speech, folder / "speech.f32")
        rows = engine.encode_audio(PcmFile(folder / "speech.f32"), frames, RATE, None)
        write_float32_rows(folder / "heard", rows)
        done("features and load")
        engine._networks._unet()
        done("load UNet")
        scene, audio_features = (
            Scene(avatar, video, RATE),
            Float32RowFile.open(folder / "heard"),
        )
        render_chunk(scene, engine, audio_features, Chunk(0, 0, frames), folder / "crops")
        done("render, size measured meanwhile")
        chunk = Chunk(0, 0, frames)
        render_chunk(scene, engine, audio_features, chunk, folder / "again")
        done("render")
        inside = profile_render(context, scene, engine, audio_features, frames, folder)
        done("render, looked into")
        composed_frames = sum(1 for _ in compose(scene, engine, CropReader.open(folder / "again"), chunk))
        done("compose")
        name = "channels last" if channels_last else "contiguous"
        made[name] = {
            "seconds": phase_s,
            "with_face": scene.avatar.manifest.with_face,
            "shown": composed_frames,
            "render_fps": frames / phase_s["render"],
            "first_render_fps": frames / phase_s["render, size measured meanwhile"],
            "prepare_fps": source_frames / phase_s["prepare"],
            "inside": inside,
            "counts": str(engine.render_stats),
            "allocated_mb": context.allocated() / BYTES_PER_MB,
        }
        print("job", name, made[name], flush=True)
    return made


def profile_render(context, scene, engine, audio_features, frames, folder):
    """Seconds in each stage, cost of a chunk of a new length, and time in GPU kernels."""

    def again(count):
        with tempfile.TemporaryDirectory(dir=folder) as target:
            render_chunk(scene, engine, audio_features, Chunk(0, 0, count), Path(target))

    made = {}
    for name, count in (("stages", frames), ("other length", frames - 5), ("that again", frames - 5)):
        began = time.perf_counter()
        with gpu_profile.profile_stages() as (took, batches):
            again(count)
        seconds = {stage: round(value, 3) for stage, value in took.items()}
        whole = round(time.perf_counter() - began, 3)
        made[name] = {"whole": whole, "seconds": seconds, "frames, ms a frame": batches}
    if not context.is_small:
        made["computing"] = gpu_profile.profile_kernels(lambda: again(frames))
    return made


def voice(context):
    return gpu_csm.measure(context.device, context.folder / "voice")


def voice_static(context):
    return gpu_csm.measure_static_caches(context.device, context.folder / "voice")


def hearing(context):
    return gpu_whisper.measure(context.device, context.folder)


def faces(context):
    """Milliseconds per call of detector, pose and parser, and of the encoder of the VAE."""
    device, made = choose_device(context.device), {}
    side = (90, 160) if context.is_small else (1080, 1920)
    picture = np.random.default_rng(0).integers(0, 256, (*side, 3), dtype=np.uint8)
    detector = load_detector(context.golden / "s3fd" / "s3fd-619a316812.pth", device, 1024)
    pose = load_pose(context.golden / "dwpose" / "dw-ll_ucoco_384.pth", device)
    parser = load_parser(context.golden / "face-parse-bisent" / "79999_iter.pth", device)
    square = picture[: side[0], : side[0]]
    calls = {
        "detector, longest side 1024": lambda: detector._head_maps(detector._scale_down(picture)[0]),
        "pose": lambda: pose.points(picture),
        "parser, four squares": lambda: parser.label_maps([square] * 4),
    }
    if not context.is_small:
        from musetalk_core.engines.musetalk.latents import LatentEncoder

        crop = picture[:256, :256]
        for channels_last in (False, True):
            nets = context.networks(channels_last=channels_last)
            encoder = LatentEncoder(nets.vae(), nets.device)
            for size in (4, 16):
                made[f"encoder of {size}, channels last {channels_last}"] = (
                    1000
                    * gpu_networks.seconds_per_call(
                        lambda encoder=encoder, size=size: encoder.encode([crop] * size), context.device
                    )
                )
    for name, call in calls.items():
        made[name] = 1000 * gpu_networks.seconds_per_call(call, context.device)
    made = {name: round(value, 2) for name, value in made.items()}
    print("ms per call", made, flush=True)
    return made


SECTIONS = {
    "golden": golden,
    "copies": copies,
    "finite": finite,
    "batch": batch,
    "memory": memory,
    "job": job,
    "faces": faces,
    "speed": speed,
    "voice": voice,
    "hearing": hearing,
    "voice_static": voice_static,
    "compiled": compiled,
}


def main(arguments=()):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", choices=tuple(SECTIONS), default=tuple(SECTIONS))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("skipped: torch finds no GPU on this machine")
        return
    name = torch.cuda.get_device_name() if options.device == "cuda" else "processor"
    made = {"device": name, "torch": torch.__version__, "python": sys.version.split()[0]}
    print(made, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        context = BenchContext(options.device, Path(folder))
        for section in options.only:
            began = time.perf_counter()
            print(f"== {section}", flush=True)
            try:
                made[section] = SECTIONS[section](context)
            except Exception as error:  # a failure must not lose the results of the other sections
                traceback.print_exc()
                made[section] = {"failed": repr(error)}
            made[section + "_s"] = round(time.perf_counter() - began, 1)
            print(f"   {made[section + '_s']} s", flush=True)
            if options.json:
                options.json.write_text(json.dumps(made, indent=1))
            if options.device == "cuda":
                torch.cuda.empty_cache()
    if any("failed" in made[section] for section in options.only):
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
