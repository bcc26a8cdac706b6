"""The option `restore` of the engine: which restorer opens, its weights, cache keys, and frames with it."""

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts
from musetalk_core.engines.musetalk import model_loaders
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.errors import EngineError, EngineOutOfMemory, InputError, ModelNotInstalled
from musetalk_core.formats.chunk_crops import CropReader, CropWriter
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.networks.codeformer import CodeFormer
from musetalk_core.networks.gfpgan import GFPGAN
from musetalk_core.networks.vqgan import VqganSize
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene
from musetalk_core.restoration.restoration_networks import gfpgan_function
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.device import choose_device

# the pictures have the real size, the layers few channels
NARROW_GFPGAN = partial(GFPGAN, side=512, style_features=32, mlp_layers=1, narrow=1 / 32)
NARROW_CODEFORMER = partial(
    CodeFormer, VqganSize(512, (32, 32, 32, 32, 32, 32), 48, 64), features=32, heads=2, layers=1
)
NETS = {
    "gfpgan": ("gfpgan/GFPGANv1.4.pth", "gfpgan-1.4", NARROW_GFPGAN),
    "codeformer": ("codeformer/codeformer.pth", "codeformer", NARROW_CODEFORMER),
}


@pytest.fixture(scope="module")
def bare_root(golden_models):
    return golden_models("unet-v15", "vae", "whisper")


@pytest.fixture(scope="module")
def root(bare_root, tmp_path_factory):
    """A folder with the models of the engine and both restoration networks with random weights."""
    folder = tmp_path_factory.mktemp("models") / "root"
    shutil.copytree(bare_root, folder, copy_function=os.link)
    torch.manual_seed(4)
    for file, _, build in NETS.values():
        net = build()
        with torch.no_grad():
            for value in (*net.parameters(), *net.buffers()):
                value.normal_(0, 0.08)
        (folder / file).parent.mkdir(exist_ok=True)
        torch.save({"params_ema": net.state_dict()}, folder / file)
    return folder


@pytest.fixture(scope="module")
def machine(root, tmp_path_factory):
    hashes = tmp_path_factory.mktemp("hashes") / "hashes.json"
    return RuntimeConfig(LocalModels(root, hashes), device="cpu", landmarks="mesh")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    for name, (_, _, build) in NETS.items():
        load = getattr(model_loaders, f"load_{name}")
        monkeypatch.setattr(model_loaders, f"load_{name}", partial(load, build_net=build))


@pytest.fixture(scope="module")
def scene(machine, portrait, tmp_path_factory):
    folder = tmp_path_factory.mktemp("avatar")
    still = folder.with_suffix(".png")
    cv2.imwrite(str(still), portrait[:320, 60:380])
    engine = MuseTalkEngine(MuseTalkEngineOptions(), machine)
    prepare.prepare_avatar(prepare.AvatarRequest(still, "0" * 64), engine, folder)
    avatar = encode_parts(archive.load_avatar(folder), engine, still, tmp_path_factory.mktemp("parts"))
    return Scene(avatar, still, Fraction(25))


@pytest.fixture(scope="module")
def crops(scene, portrait, tmp_path_factory):
    """Two crops of 256 pixels that show the source, blurred."""
    folder, box = tmp_path_factory.mktemp("crops"), scene.avatar.box(0)
    face = portrait[:320, 60:380][box.slices()]
    with CropWriter(folder) as writer:
        for sigma in (2.0, 2.5):
            writer.write(0, cv2.GaussianBlur(cv2.resize(face, (256, 256)), (0, 0), sigma))
    return CropReader.open(folder)


def composed(scene, crops, machine, **options):
    engine = MuseTalkEngine(MuseTalkEngineOptions(**options), machine)
    return [picture.i420 for picture in compose(scene, engine, crops, Chunk(0, 0, 2))]


def assert_restored_inside_the_mask(scene, plain, restored):
    height, box = scene.avatar.manifest.height, scene.avatar.box(0)
    for one, other in zip(plain, restored, strict=True):
        rows, columns = np.nonzero(one[:height] != other[:height])
        assert len(rows) > 500
        assert box.x1 <= columns.min() and columns.max() < box.x2
        assert (box.y1 + box.y2) // 2 - 20 <= rows.min() and rows.max() < box.y2


def test_detail_changes_frames_where_the_mask_shows_and_nowhere_else(scene, crops, machine):
    plain, restored = composed(scene, crops, machine), composed(scene, crops, machine, restore="detail")
    assert_restored_inside_the_mask(scene, plain, restored)
    again = composed(scene, crops, machine, restore="detail")
    assert all(np.array_equal(one, other) for one, other in zip(restored, again, strict=True))


def test_a_network_changes_frames_where_the_mask_shows_and_nowhere_else(scene, crops, machine, monkeypatch):
    def sharpen(faces, *_):
        return faces + 2 * (faces - torch.nn.functional.avg_pool2d(faces, 5, 1, 2))

    monkeypatch.setattr(model_loaders, "load_gfpgan", lambda *_: sharpen)
    fresh = replace(machine, idle_s=1.0)  # other models than those of the other tests
    plain, restored = composed(scene, crops, machine), composed(scene, crops, fresh, restore="gfpgan")
    assert_restored_inside_the_mask(scene, plain, restored)


@pytest.mark.parametrize("mode", NETS)
def test_the_weights_of_the_file_restore_an_aligned_face(machine, root, portrait, mode):
    aligned = np.ascontiguousarray(portrait)
    restorer = MuseTalkEngine(MuseTalkEngineOptions(restore=mode), machine).open_restorer()
    file, _, build = NETS[mode]
    net = build()
    net.load_state_dict(torch.load(root / file, weights_only=True)["params_ema"])
    faces = torch.from_numpy(aligned[..., ::-1].transpose(2, 0, 1).copy())[None].float() / 127.5 - 1
    with torch.inference_mode():
        expected = net.eval()(faces, *([0.7] if mode == "codeformer" else []))[0]
    expected = ((expected + 1) * 127.5).clamp(0, 255).numpy().transpose(1, 2, 0)[..., ::-1]
    assert np.abs(restorer._restore_face(aligned) - expected).max() < 1.01
    assert expected.std() > 5, "the random weights draw something"


def identity(faces):
    return faces


def test_pixels_and_channels_survive_the_way_to_the_network_and_back(portrait):
    device, aligned = choose_device("cpu"), np.ascontiguousarray(portrait)
    assert np.array_equal(gfpgan_function(identity, device)(aligned), aligned)

    def more_red(faces):
        return faces + torch.tensor([0.2, 0, 0])[:, None, None]

    change = gfpgan_function(more_red, device)(aligned).astype(int) - aligned
    assert change[..., :2].max() == 0 and change[..., 2].mean() > 20


@pytest.mark.parametrize(
    ("error", "expected"),
    [(torch.OutOfMemoryError("CUDA out of memory"), EngineOutOfMemory), (None, EngineError)],
)
def test_failures_of_a_network_are_typed(portrait, error, expected):
    def failing(faces):
        if error:
            raise error
        return faces * float("nan")

    with pytest.raises(expected):
        gfpgan_function(failing, choose_device("cpu"))(np.ascontiguousarray(portrait))


@pytest.mark.parametrize("mode", NETS)
def test_the_network_is_a_model_of_the_engine_and_part_of_the_key(machine, mode):
    def key(**options):
        engine = MuseTalkEngine(MuseTalkEngineOptions(**options), machine)
        stages = {stage: engine.cache_fingerprint(stage) for stage in ("avatar", "features", "crops")}
        return engine.models, stages, engine.cache_fingerprint("blend")

    models, stages, blend = key(restore=mode)
    plain_models, plain_stages, plain_blend = key()
    assert models == (*plain_models, NETS[mode][1])
    assert stages == plain_stages and blend != plain_blend
    assert (key(restore=mode, fidelity=0.2)[2] != blend) == (mode == "codeformer")


@pytest.mark.parametrize("mode", NETS)
def test_a_missing_network_is_told_with_its_command(bare_root, tmp_path, mode):
    bare = RuntimeConfig(LocalModels(bare_root, tmp_path / "hashes.json"), device="cpu", landmarks="mesh")
    MuseTalkEngine(MuseTalkEngineOptions(restore="detail"), bare)
    with pytest.raises(ModelNotInstalled, match=f"weights pull {NETS[mode][1]}"):
        MuseTalkEngine(MuseTalkEngineOptions(restore=mode), bare)


@pytest.mark.parametrize("options", [{"restore": "sharp"}, {"fidelity": 1.2}])
def test_values_out_of_range_are_refused(machine, options):
    with pytest.raises(InputError, match=next(iter(options))):
        MuseTalkEngine(MuseTalkEngineOptions(**options), machine)
