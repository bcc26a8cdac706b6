"""The script of the pictures of docs/explanation/mouths.md, with stand-in weights of the neural engine."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from face_cases import face_cases
from mouth_sheet import TILE

from musetalk_core.engine_registry import load_engine
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.speech.phones import Phone

SCRIPT = Path(__file__).resolve().parents[2] / "docs/images/make_mouth_gallery.py"


@pytest.fixture(scope="module")
def gallery():
    told = importlib.util.spec_from_file_location("make_mouth_gallery", SCRIPT)
    module = importlib.util.module_from_spec(told)
    told.loader.exec_module(module)
    return module


def machine(folder, tmp_path):
    return RuntimeConfig(LocalModels(folder, tmp_path / "hashes.json"), device="cpu", landmarks="mesh")


@pytest.mark.slow  # a minute for the networks
def test_each_installed_engine_has_a_row_for_the_same_speech(gallery, golden_models, tmp_path, monkeypatch):
    sounds = [("closed", ("M",)), ("ah", ("AA",))]
    monkeypatch.setattr(gallery, "SOUNDS", sounds)
    samples = (0.1 * np.sin(np.arange(16_000) / 8)).astype(np.float32)
    speech = gallery.picture.Speech("hum", PcmArray(samples), [Phone(0, 0.4, "M"), Phone(0.4, 1, "AA")])
    models = golden_models("unet-v15", "vae", "whisper", "bisenet")
    engines = [load_engine("viseme"), load_engine("musetalk", runtime=machine(models, tmp_path))]

    [(told, pixels)] = gallery.galleries(face_cases(tmp_path, ["smiling"]), [speech], engines, tmp_path)

    tile_w, tile_h = TILE
    assert told is speech
    assert pixels.shape[1] == 3 * tile_w and pixels.shape[0] >= 2 * tile_h
    viseme, musetalk = (pixels[-rest : None if rest == tile_h else -tile_h] for rest in (2 * tile_h, tile_h))
    # the source is the same, but for the titles of the rows; the sounds are drawn by other engines
    below = slice(tile_h // 4, None)
    assert np.array_equal(viseme[below, :tile_w], musetalk[below, :tile_w])
    for column in (1, 2):
        each = slice(column * tile_w, (column + 1) * tile_w)
        assert np.abs(viseme[:, each].astype(int) - musetalk[:, each]).mean() > 3


def test_without_weights_the_starter_engine_has_all_rows(gallery, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "runtime_config", lambda: machine(tmp_path / "models", tmp_path))

    assert [engine.name for engine in gallery.engines()] == ["viseme"]
    assert "without the engine musetalk" in capsys.readouterr().out
