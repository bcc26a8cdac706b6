"""
Benchmarks of the neural models on a GPU: `./run bench card`, or `card.py [--json FILE] [--only SECTION ...]`.

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
import card_hearing
import card_speed
import card_stages
import card_voice
import real_weights
from golden_chain import FRAMES, expected_frames, run_chain
from golden_data import COMMITTED, load, weights
from media import long_speech, talking_head

from musetalk_core import avatar, prepare
from musetalk_core.compose import compose
from musetalk_core.crops import Crops
from musetalk_core.engines.musetalk.batching import BatchSize
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.generate import Generator
from musetalk_core.engines.musetalk.networks import Networks, shelf
from musetalk_core.engines.musetalk.options import Options, settled
from musetalk_core.machine import Machine
from musetalk_core.media.audio import decode_speech
from musetalk_core.nets.bisenet import load_parser
from musetalk_core.nets.device import choose_device
from musetalk_core.nets.dwpose import load_pose
from musetalk_core.nets.s3fd import load_detector
from musetalk_core.nets.whisper_states import load_whisper
from musetalk_core.plan import Chunk
from musetalk_core.render import Scene, render_chunk
from musetalk_core.rows import RowFile, write_rows
from musetalk_core.speech.samples import PcmFile
from musetalk_core.weights.layout import Layout

RATE = Fraction(25)
PRECISIONS = ("fp32", "fp16", "bf16")
MB = 1e6


class Card:
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
        real_weights.write(self.folder / "real")
        return self.folder / "real"

    def machine(self, root=None, **more):
        layout = Layout(root or self.models, self.folder / "hashes.json")
        return Machine(layout, device=self.device, **{"landmarks": "mesh", **more})

    def networks(self, **more):
        return Networks(settled(Options()), self.machine(**more))

    def stop(self):
        card_speed.stop(self.device)

    def allocated(self):
        self.stop()
        return torch.cuda.memory_allocated() if self.device == "cuda" else 0


def golden(card):
    """Differences (8-bit levels, encoder states) from the committed vectors for each precision."""
    out, frames32 = {}, {}
    for precision in PRECISIONS[:1] if card.is_small else ("fp32 tf32", *PRECISIONS):
        for version in ("v15", "v1"):
            machine = card.machine(card.golden, precision=precision[:4])
            with tf32("tf32" in precision):
                run = run_chain(COMMITTED, version, machine)
            frames = np.stack([run.composited(n) for n in range(FRAMES)]).astype(int)
            faces = np.stack(run.crops).astype(int)
            known = load(COMMITTED, "chain")[f"faces_{version}_s4"]
            row = {"faces": far(faces[: len(known), ::4, ::4], known)}
            expected = expected_frames(COMMITTED, version)
            row["frames"] = far([frames[n] for n in expected], list(expected.values()))
            if precision == "fp32":
                frames32[version] = frames, faces
            elif version in frames32:
                row["frames_from_fp32"] = far(frames, frames32[version][0])
                row["faces_from_fp32"] = far(faces, frames32[version][1])
            row["counts"] = str(run.engine.counts)
            out[f"{precision} {version}"] = row
            print(precision, version, row, flush=True)
    out["states"] = {p: states(card, p) for p in (PRECISIONS[:1] if card.is_small else PRECISIONS)}
    print("encoder states", out["states"], flush=True)
    return out


@contextmanager
def tf32(on):
    """Force TF32 on by patching `choose_device`, which would switch it off."""
    from musetalk_core.nets import device

    real = device.choose_device
    if on:
        from musetalk_core.engines.musetalk import networks

        def chosen(*words):
            made = real(*words)
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
            return made

        networks.choose_device = chosen
    try:
        yield
    finally:
        if on:
            networks.choose_device = real


def far(found, expected):
    difference = np.abs(np.stack(found).astype(float) - np.stack(expected))
    return {
        "max": float(difference.max()),
        "mean": round(float(difference.mean()), 6),
        "share_over_0": round(float((difference > 0).mean()), 6),
        "share_over_2": round(float((difference > 2).mean()), 6),
    }


def states(card, precision):
    audio = load(COMMITTED, "audio")
    ears = load_whisper(card.golden / "whisper", choose_device(card.device, precision))
    found = ears.piece(audio["speech"][:480000].astype(np.float32) / 32768)
    reference = load_whisper(card.golden / "whisper", choose_device("cpu", "fp32"))
    plain = reference.piece(audio["speech"][:480000].astype(np.float32) / 32768)
    return {"from_cpu_fp32": float(np.abs(found - plain).max()), "of": float(np.abs(plain).max())}


def speed(card):
    if card.is_small:
        return card_speed.output_paths(card.device, 2)
    rows = []
    for precision in ("fp16", "bf16"):
        for name, options in card_speed.WAYS.items():
            rows += card_speed.measure(card.device, precision, name, options, (4, 8, 16, 32, 64))
            torch.cuda.empty_cache()
    rows += card_speed.measure(card.device, "fp32", "lean", {}, (8, 32))
    torch.backends.cudnn.benchmark = True
    for name in ("lean", "lean, channels last"):
        title = f"{name}, cudnn.benchmark"
        rows += card_speed.measure(card.device, "fp16", title, card_speed.WAYS[name], (8, 32))
        torch.cuda.empty_cache()
    torch.backends.cudnn.benchmark = False
    paths = {size: card_speed.output_paths(card.device, size) for size in (8, 32)}
    print("to BGR bytes, ms per frame:", paths, flush=True)
    return {"rows": rows, "output_ms": paths}


def compiled(card):
    rows = []
    if not card.is_small:
        for name, options in card_speed.COMPILED.items():
            rows += card_speed.measure(card.device, "fp16", name, options, (32,))
            torch.compiler.reset()
    return rows


def inputs(count, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (count, 8, 32, 32), (count, 50, 384)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def batch(card):
    """Batch size that BatchSize selects for the frames of a chunk, and the time until it is selected."""
    nets, made = card.networks(), {}
    nets._unet(), nets.vae()
    most, count = (4, 12) if card.is_small else (64, 500)
    for given in (min(most, 32), most):
        size = BatchSize(given, 4)
        generator = Generator(nets.device, size)
        latents, tokens = inputs(given)
        steps, done, began = [], 0, time.perf_counter()
        while done < count:
            before = time.perf_counter()
            generator.faces(nets._unet(), nets.vae(), latents, tokens)
            done += given
            steps.append((done, size.size, round(1000 * (time.perf_counter() - before) / given, 2)))
            if size._is_settled and done >= 4 * given:
                break
        made[given] = {"size": size.size, "s": time.perf_counter() - began, "steps": steps}
        print("batch, handed", given, made[given], flush=True)
    return made


def memory(card):
    """Out of memory on the device, and memory released by the model cache."""
    out = {"shelf": let_go(card)}
    if card.device == "cuda":
        out["out_of_memory"] = ends_of_memory(card)
    print(out, flush=True)
    return out


def let_go(card):
    before = card.allocated()
    tiny = card.networks(memory_bytes=1, idle_s=1.0)
    kept = shelf(1, 1.0)
    tiny._unet()
    with_unet, size = card.allocated(), kept.bytes
    tiny.vae()
    with_vae, keys = card.allocated(), len(kept.keys)
    until = time.monotonic() + 20
    while kept.keys and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(0.5)
    found = {"before": before, "unet": with_unet, "vae in its place": with_vae, "idle": card.allocated()}
    return {name: round(value / MB, 1) for name, value in found.items()} | {
        "on_shelf_mb": size / MB,
        "keys_after_vae": keys,
    }


def ends_of_memory(card):
    nets = card.networks()
    latents, tokens = inputs(40)
    wanted = Generator(nets.device, BatchSize(5, 5)).faces(nets._unet(), nets.vae(), latents, tokens)
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    base = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    big = Generator(nets.device, BatchSize(32, 32)).faces(nets._unet(), nets.vae(), latents, tokens)
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    out = {"base_mb": base / MB, "peak_mb_of_32": peak / MB, "32_against_5": far(big, wanted)}
    for share in (0.6, 0.2):
        torch.cuda.set_per_process_memory_fraction((base + share * (peak - base)) / whole)
        generator = Generator(nets.device, BatchSize(32, 32))
        faces = generator.faces(nets._unet(), nets.vae(), latents, tokens)
        torch.cuda.set_per_process_memory_fraction(1.0)
        out[f"{share:.0%} of that"] = {"counts": str(generator.counts), "from_wanted": far(faces, wanted)}
        torch.cuda.empty_cache()
    return out


def finite(card):
    """Latents that overflow half precision: rendered again in float32, with the same result as float32."""
    out, precision = {}, "bf16" if card.is_small else "fp16"
    wide = card.networks(precision="fp32")
    latents, tokens = inputs(4)
    huge = latents.copy()
    huge[1] *= 1e5  # one frame of the batch
    wanted = Generator(wide.device, BatchSize(4, 4)).faces(wide._unet(), wide.vae(), huge, tokens)
    half = card.networks(precision=precision)
    generator = Generator(half.device, BatchSize(4, 4))
    began = time.perf_counter()
    found = generator.faces(half._unet(), half.vae(), huge, tokens)
    out["retried_s"] = time.perf_counter() - began
    out["retries"], out["from_fp32"] = generator.counts.fp32_retries, far(found, wanted)
    began = time.perf_counter()
    generator.faces(half._unet(), half.vae(), latents, tokens)
    out["then_s"] = time.perf_counter() - began
    kinds = Counter(str(p.dtype) for net in (half._unet(), half.vae()) for p in net.parameters())
    out["dtypes_after"] = dict(kinds)
    print("finite", out, flush=True)
    return out


class Copies(TorchDispatchMode):
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


def copies(card):
    nets = card.networks()
    generator = Generator(nets.device, BatchSize(8, 8))
    latents, tokens = inputs(2 if card.is_small else 8)
    nets._unet(), nets.vae()
    with Copies() as noted:
        faces = generator.faces(nets._unet(), nets.vae(), latents, tokens)
    made = {"noted": noted.seen, "bytes_of_the_faces": sum(face.nbytes for face in faces)}
    print("copies", made, flush=True)
    return made


def job(card):
    """Prepare, encode audio, render and compose with the engine, as a flow does, without video encoding."""
    source_frames, frames = (4, 8) if card.is_small else (50, 250)
    size, face = ((320, 240), 120) if card.is_small else ((1280, 720), 300)
    video = talking_head(card.folder / "head.mp4", source_frames / 25, size=size, face_px=face)
    speech = long_speech(card.folder / "speech.wav", frames / 25)
    made = {}
    for channels_last in (False, True):
        folder = card.folder / f"job{channels_last}"
        engine = MuseTalkEngine(Options(), card.machine(channels_last=channels_last))
        took, began = {}, time.perf_counter()

        def done(phase, took=took):
            nonlocal began
            took[phase], began = round(time.perf_counter() - began, 3), time.perf_counter()

        for name in ("first", "avatar", "heard", "crops", "again"):
            (folder / name).mkdir(parents=True)
        request = prepare.Request(video, "0" * 64)
        prepare.prepare(request, engine, folder / "first")
        done("prepare and load")
        prepare.prepare(request, engine, folder / "avatar")
        done("prepare")
        decode_speech(speech, folder / "speech.f32")
        rows = engine.encode_speech(PcmFile(folder / "speech.f32"), frames, RATE, None)
        write_rows(folder / "heard", rows)
        done("features and load")
        engine._networks._unet()
        done("load UNet")
        scene, heard = Scene(avatar.load(folder / "avatar"), video, RATE), RowFile.open(folder / "heard")
        render_chunk(scene, engine, heard, Chunk(0, 0, frames), folder / "crops")
        done("render, size measured meanwhile")
        chunk = Chunk(0, 0, frames)
        render_chunk(scene, engine, heard, chunk, folder / "again")
        done("render")
        inside = rendered_again(card, scene, engine, heard, frames, folder)
        done("render, looked into")
        shown = sum(1 for _ in compose(scene, engine, Crops.open(folder / "again"), chunk))
        done("compose")
        name = "channels last" if channels_last else "contiguous"
        made[name] = {
            "seconds": took,
            "with_face": scene.avatar.manifest.with_face,
            "shown": shown,
            "render_fps": frames / took["render"],
            "first_render_fps": frames / took["render, size measured meanwhile"],
            "prepare_fps": source_frames / took["prepare"],
            "inside": inside,
            "counts": str(engine.counts),
            "allocated_mb": card.allocated() / MB,
        }
        print("job", name, made[name], flush=True)
    return made


def rendered_again(card, scene, engine, heard, frames, folder):
    """Seconds in each stage, cost of a chunk of a new length, and time in GPU kernels."""

    def again(count):
        with tempfile.TemporaryDirectory(dir=folder) as target:
            render_chunk(scene, engine, heard, Chunk(0, 0, count), Path(target))

    made = {}
    for name, count in (("stages", frames), ("other length", frames - 5), ("that again", frames - 5)):
        began = time.perf_counter()
        with card_stages.stages() as (took, batches):
            again(count)
        seconds = {stage: round(value, 3) for stage, value in took.items()}
        whole = round(time.perf_counter() - began, 3)
        made[name] = {"whole": whole, "seconds": seconds, "frames, ms a frame": batches}
    if not card.is_small:
        made["computing"] = card_stages.computing(lambda: again(frames))
    return made


def voice(card):
    return card_voice.measure(card.device, card.folder / "voice")


def voice_static(card):
    return card_voice.compiled(card.device, card.folder / "voice")


def hearing(card):
    return card_hearing.measure(card.device, card.folder)


def faces(card):
    """Milliseconds per call of detector, pose and parser, and of the encoder of the VAE."""
    device, made = choose_device(card.device), {}
    side = (90, 160) if card.is_small else (1080, 1920)
    picture = np.random.default_rng(0).integers(0, 256, (*side, 3), dtype=np.uint8)
    detector = load_detector(card.golden / "s3fd" / "s3fd-619a316812.pth", device, 1024)
    pose = load_pose(card.golden / "dwpose" / "dw-ll_ucoco_384.pth", device)
    parser = load_parser(card.golden / "face-parse-bisent" / "79999_iter.pth", device)
    square = picture[: side[0], : side[0]]
    calls = {
        "detector, longest side 1024": lambda: detector._maps(detector._scaled(picture)[0]),
        "pose": lambda: pose.points(picture),
        "parser, four squares": lambda: parser.label_maps([square] * 4),
    }
    if not card.is_small:
        from musetalk_core.engines.musetalk.latents import LatentEncoder

        crop = picture[:256, :256]
        for channels_last in (False, True):
            nets = card.networks(channels_last=channels_last)
            encoder = LatentEncoder(nets.vae(), nets.device)
            for size in (4, 16):
                made[f"encoder of {size}, channels last {channels_last}"] = 1000 * card_speed.timed(
                    lambda encoder=encoder, size=size: encoder.encode([crop] * size), card.device
                )
    for name, call in calls.items():
        made[name] = 1000 * card_speed.timed(call, card.device)
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


def main(words=()):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", choices=tuple(SECTIONS), default=tuple(SECTIONS))
    asked = parser.parse_args(words)
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("skipped: torch finds no GPU on this machine")
        return
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "processor"
    made = {"device": name, "torch": torch.__version__, "python": sys.version.split()[0]}
    print(made, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        card = Card(asked.device, Path(folder))
        for section in asked.only:
            began = time.perf_counter()
            print(f"== {section}", flush=True)
            try:
                made[section] = SECTIONS[section](card)
            except Exception as error:  # a failure must not lose the results of the other sections
                traceback.print_exc()
                made[section] = {"failed": repr(error)}
            made[section + "_s"] = round(time.perf_counter() - began, 1)
            print(f"   {made[section + '_s']} s", flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(made, indent=1))
            if asked.device == "cuda":
                torch.cuda.empty_cache()
    if any("failed" in made[section] for section in asked.only):
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
