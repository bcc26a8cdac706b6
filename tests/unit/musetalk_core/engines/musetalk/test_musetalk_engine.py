"""The neural engine on a small clip with stand-in weights: what upstream got wrong must be right."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from threading import get_ident

import av
import cv2
import numpy as np
import pytest

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts
from musetalk_core.compositing.blending import blend_square
from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.errors import EngineError, InputError, ModelNotInstalled
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.rendering.chunking import Chunk, plan_chunks
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.device_thread import device_thread

RATE = Fraction(25)


@pytest.fixture(scope="module")
def machine(golden_models, tmp_path_factory):
    root = golden_models("unet-v1", "unet-v15", "vae", "whisper", "bisenet")
    spare = tmp_path_factory.mktemp("ledger") / "hashes.json"
    return RuntimeConfig(LocalModels(root, spare), device="cpu", landmarks="mesh")


@pytest.fixture(scope="module")
def clip(portrait, tmp_path_factory):
    """Seven frames of the portrait, moving; frames 3 and 4 show a wall."""
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    path = tmp_path_factory.mktemp("clip") / "swaying.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "14"})
        stream.height, stream.width, stream.pix_fmt = 256, 256, "yuv420p"
        for number in range(7):
            move = np.float32([[1, 0, 3 * np.sin(number)], [0, 1, 2 * np.cos(number)]])
            picture = cv2.warpAffine(small, move, (256, 256), borderMode=cv2.BORDER_REPLICATE)
            picture = np.full((256, 256, 3), 90, np.uint8) if number in (3, 4) else picture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def made(machine, clip, tmp_path_factory):
    """(engine, prepared avatar) of v1.5."""
    engine = MuseTalkEngine(MuseTalkEngineOptions(), machine)
    folder = tmp_path_factory.mktemp("avatar")
    prepare.prepare_avatar(prepare.AvatarRequest(clip, "0" * 64), engine, folder)
    parts = tmp_path_factory.mktemp("parts")
    return engine, encode_parts(archive.load_avatar(folder), engine, clip, parts)


def heard_by(engine, samples, frames=10, rate=RATE):
    return Float32RowArray.from_blocks(engine.encode_audio(samples, frames, rate, None))


def test_faceless_frames_keep_their_place_and_every_frame_is_there(made, clip, reading, tmp_path):
    engine, prepared = made
    scene = Scene(prepared, clip, RATE)
    chunk = Chunk(0, 0, 16)
    render_chunk(scene, engine, heard_by(engine, reading), chunk, tmp_path)

    crops = CropReader.open(tmp_path)
    assert prepared.manifest.gaps == ((3, 5),)
    there = [0, 1, 2, 3, 4, 5, 6]
    assert crops.sources.tolist() == (there + there[::-1] + there)[:16]
    assert [crops.crop(n) is None for n in range(16)] == [s in (3, 4) for s in crops.sources]


def test_nothing_outside_the_mask_changes_and_a_mask_is_made_once_per_source_frame(
    made, clip, reading, tmp_path
):
    engine, prepared = made
    scene, chunk, masks = Scene(prepared, clip, RATE), Chunk(0, 0, 14), MaskCache()
    render_chunk(scene, engine, heard_by(engine, reading), chunk, tmp_path)
    crops = CropReader.open(tmp_path)
    frames = crops.sources.tolist()
    with FrameReader(clip, prepared.index) as reader:
        before = list(reader.read(frames))

    for source, old, new in zip(
        frames, before, compose(scene, engine, crops, chunk, masks=masks), strict=True
    ):
        box = prepared.box(source)
        if box.is_empty:
            np.testing.assert_array_equal(new.i420, old.i420)
            continue
        square = blend_square(box)
        kernel = int(0.05 * (square.x2 - square.x1) // 2 * 2) + 1
        top = ((square.y1 + square.y2) // 2 - kernel // 2) & ~1
        np.testing.assert_array_equal(new.y[:top], old.y[:top])
        assert (new.y[top:] != old.y[top:]).any()
    assert masks.computed_count == 5


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(30000, 1001), Fraction(60)])
def test_any_rate_gives_exactly_its_frames(made, clip, reading, tmp_path, rate):
    engine, prepared = made
    samples = PcmArray(reading.read(0, 3200))
    frames = plan_chunks(samples.count, rate, 10).frames
    render_chunk(
        Scene(prepared, clip, rate), engine, heard_by(engine, samples), Chunk(0, 0, frames), tmp_path
    )

    assert len(CropReader.open(tmp_path).sources) == int(Fraction(3200, 16000) * rate)


def test_speech_shorter_than_the_window_is_rendered(made, reading):
    engine, _ = made
    heard = heard_by(engine, PcmArray(reading.read(4000, 4700)), 1)

    tokens = engine.audio_features(heard, 0, 1, RATE)
    assert heard.count == 2
    assert tokens.shape == (1, 50, 384)


def test_a_cpu_renders_the_same_bytes_whatever_the_batch_size_of_the_settings(
    made, machine, clip, reading, tmp_path
):
    _, prepared = made
    written = set()
    for limit in (32, 1, 3, 64):
        engine = MuseTalkEngine(MuseTalkEngineOptions(), replace(machine, batch=limit))
        folder = tmp_path / str(limit)
        folder.mkdir()
        scene = Scene(prepared, clip, RATE)
        render_chunk(scene, engine, heard_by(engine, reading), Chunk(0, 0, 7), folder)  # five faces
        written.add(CropReader.open(folder).path.read_bytes())
        assert engine.render_stats.batch_size == 4

    assert len(written) == 1


def test_a_cpu_renders_batches_of_one_size_and_reports_every_face(made, clip, reading, tmp_path, monkeypatch):
    engine, prepared = made
    sizes, done = [], []
    unet = engine._networks._unet()
    monkeypatch.setattr(
        engine._networks, "_unet", lambda: lambda *a: sizes.append([len(one) for one in a]) or unet(*a)
    )

    render_chunk(
        Scene(prepared, clip, RATE),
        engine,
        heard_by(engine, reading),
        Chunk(0, 0, 10),
        tmp_path,
        on_frames=lambda count: done.append((count, len(sizes))),
    )

    assert sizes == [[4, 4]] * 3
    counts = [count for count, _ in done]
    assert counts == sorted(set(counts)) and counts[-1] == 10
    assert {1, 2, 3} <= set(counts), "three faces of the first batch, before the second"
    assert [rendered for count, rendered in done if count <= 3] == [1, 1, 1]


def test_options_share_the_batch_size_that_was_measured_and_devices_and_limits_do_not(machine):
    def sizes(options=None, **changes):
        engine = MuseTalkEngine(options or MuseTalkEngineOptions(), replace(machine, **changes))
        return engine._networks._generator._batch_size

    assert sizes() is sizes(MuseTalkEngineOptions(left_cheek_width=60, audio_padding_left=1))
    assert sizes() is not sizes(precision="bf16")
    assert sizes() is not sizes(channels_last=True)
    assert sizes() is not sizes(MuseTalkEngineOptions(version="v1"))


def test_crops_do_not_depend_on_chunks(made, clip, reading, tmp_path):
    engine, prepared = made
    scene, heard = Scene(prepared, clip, RATE), heard_by(engine, reading)
    folders = []
    for number, chunk in enumerate([Chunk(0, 0, 6), Chunk(0, 0, 1), Chunk(1, 1, 6)]):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        render_chunk(scene, engine, heard, chunk, folders[-1])
    whole, first, rest = map(CropReader.open, folders)

    for number in range(6):
        expected, found = whole.crop(number), first.crop(0) if number == 0 else rest.crop(number - 1)
        if expected is None:
            assert found is None
        else:
            assert np.abs(expected.astype(int) - found.astype(int)).max() <= 1


def test_an_error_while_rendering_reaches_the_caller(made, clip, reading, tmp_path, monkeypatch):
    engine, prepared = made
    monkeypatch.setattr(engine, "render", lambda *_: (_ for _ in ()).throw(EngineError("the GPU is lost")))

    with pytest.raises(EngineError, match="GPU is lost"):
        render_chunk(Scene(prepared, clip, RATE), engine, heard_by(engine, reading), Chunk(0, 0, 9), tmp_path)


def test_pauses_are_heard_as_silence_and_on_request_as_they_are(machine, reading):
    noise = np.random.default_rng(0).normal(0, 1e-3, 32_000).astype(np.float32)
    speech = np.concatenate([reading.read(0, 16_000), noise])
    silent = np.concatenate([reading.read(0, 16_000), noise[:1600], np.zeros(30_400, np.float32)])
    closed, open_ = (
        MuseTalkEngine(MuseTalkEngineOptions(silence=word), machine) for word in ("closed", "as_heard")
    )

    found = heard_by(closed, PcmArray(speech)).rows
    np.testing.assert_allclose(found, heard_by(open_, PcmArray(silent)).rows, atol=1e-3)
    assert np.abs(found - heard_by(open_, PcmArray(speech)).rows).max() > 0.01


def test_a_key_names_what_decides_a_stage_and_nothing_else(machine):
    def keys(**options):
        engine = MuseTalkEngine(MuseTalkEngineOptions(**options), machine)
        return {stage: engine.cache_fingerprint(stage) for stage in ("avatar", "features", "crops", "blend")}

    def changed(**options):
        return {stage for stage, made in keys(**options).items() if made != keys()[stage]}

    assert changed() == set()
    assert changed(extra_margin=12) == {"avatar"}
    assert changed(latents="sample") == {"avatar"}
    assert changed(face_rule="upstream") == {"avatar"}
    assert changed(silence="as_heard") == {"features"}
    assert changed(audio_overlap_s=2.0) == {"features"}
    assert changed(audio_padding_left=3) == {"crops"}
    assert changed(audio_window="upstream") == {"crops"}
    assert changed(mask_mode="raw") == {"blend"}
    assert changed(left_cheek_width=70) == {"blend"}
    assert changed(blur_share=0.1) == {"blend"}
    assert changed(restore="detail") == {"blend"}
    assert "restore" not in keys()["blend"], "videos without restoration keep the keys that they had"
    assert changed(version="v1", extra_margin=None) == {"avatar", "crops", "blend"}


def test_upstreams_window_is_an_option(machine, reading):
    exact, upstream = (
        MuseTalkEngine(MuseTalkEngineOptions(audio_window=word), machine) for word in ("exact", "upstream")
    )
    heard = heard_by(exact, reading)

    same = [e.audio_features(heard, 5, 9, RATE) for e in (exact, upstream)]
    np.testing.assert_array_equal(*same)
    apart = [e.audio_features(heard, 5, 9, Fraction(24)) for e in (exact, upstream)]
    assert (apart[0] != apart[1]).any()


def test_paddings_change_how_much_is_heard(machine, reading):
    engine = MuseTalkEngine(MuseTalkEngineOptions(audio_padding_left=0, audio_padding_right=4), machine)

    assert engine.audio_features(heard_by(engine, reading), 0, 3, RATE).shape == (3, 10 * 5, 384)


def test_missing_weights_are_named_before_anything_is_loaded(tmp_path, machine):
    layout = LocalModels(tmp_path / "nothing", tmp_path / "spare.json")

    with pytest.raises(ModelNotInstalled, match="weights pull"):
        MuseTalkEngine(MuseTalkEngineOptions(), RuntimeConfig(layout, device="cpu"))
    for name in ("musetalkV15", "sd-vae", "whisper", "face-parse-bisent"):
        (tmp_path / name).symlink_to(machine.local_models.folder / name)
    layout = LocalModels(tmp_path, tmp_path / "spare.json")
    with pytest.raises(ModelNotInstalled, match="dwpose"):
        MuseTalkEngine(MuseTalkEngineOptions(), RuntimeConfig(layout, device="cpu", landmarks="dwpose"))


def test_a_device_that_is_not_there_is_refused(machine):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(InputError, match="no CUDA device"):
        MuseTalkEngine(MuseTalkEngineOptions(), RuntimeConfig(machine.local_models, device="cuda"))


def test_importing_the_engine_needs_no_weights_and_no_network(tmp_path):
    code = (
        "import socket; socket.socket.connect = lambda *_: (_ for _ in ()).throw(SystemExit('network'))\n"
        "import musetalk_core.engines.musetalk.engine, sys\n"
        "assert not any(n.startswith(('mmcv', 'mmpose', 'mmdet', 'prefect')) for n in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_faces_are_encoded_in_the_thread_that_renders(machine, clip, tmp_path, monkeypatch):
    engine, threads = MuseTalkEngine(MuseTalkEngineOptions(), machine), set()
    encode = engine._encode_batch
    monkeypatch.setattr(engine, "_encode_batch", lambda *a: threads.add(get_ident()) or encode(*a))
    prepare.prepare_avatar(prepare.AvatarRequest(clip, "0" * 64), engine, tmp_path)
    avatar = archive.load_avatar(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        for number in (0, 1):
            pool.submit(encode_parts, avatar, engine, clip, tmp_path / str(number)).result()

    assert threads == {device_thread().submit(get_ident).result()}
