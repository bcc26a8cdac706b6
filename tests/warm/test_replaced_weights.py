"""Weights that are replaced in the middle of a batch, on a worker whose networks stay loaded."""

import hashlib
import shutil
import wave

import golden_data
import pytest
from chain_stage import Stage
from stage import ASSETS, eventually

from musetalk_core.model_registry.local_models import LocalModels

pytestmark = [pytest.mark.stack, pytest.mark.slow]

UNET, MODEL = "musetalkV15/unet.pth", "musetalk-v15"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def stage(own_server, golden_models, tmp_path):
    shutil.copy(ASSETS / "astronaut.jpg", tmp_path / "anna.jpg")
    with wave.open(str(next(ASSETS.glob("sense*.wav")))) as source:
        settings, sound = source.getparams(), source.readframes(source.getnframes())
    for number in range(4):
        with wave.open(str(tmp_path / f"{number}.wav"), "wb") as target:
            target.setparams(settings)
            target.writeframes(sound[number * 32_000 : number * 32_000 + 16_000])
    shutil.copytree(golden_models("unet-v15", "vae", "whisper", "bisenet"), tmp_path / "models")
    stage = Stage(
        own_server,
        tmp_path,
        MUSETALK_WEIGHTS__FOLDER=str(tmp_path / "models"),
        MUSETALK_MODELS__DEVICE="cpu",
        MUSETALK_MODELS__LANDMARKS="mesh",
        MUSETALK_WORKER__GROWTH_BYTES="0",
    )
    yield stage
    stage.stop()


def test_rows_before_a_swap_have_the_old_weights_and_rows_after_it_the_new(stage, tmp_path):
    folder, new = (
        tmp_path / "models",
        golden_data.weights.write_models(tmp_path / "new", ["unet-v15"], "x")[0],
    )
    old_sha, new_sha = sha256(folder / UNET), sha256(new)
    here = LocalModels(folder, tmp_path / "hashes.json")
    digests = {old_sha: here.digest(MODEL, "sd-vae")}
    stage.start()
    rows = [{"id": f"n{number}", "audio": f"file://{tmp_path}/{number}.wav"} for number in range(4)]
    batch = stage.submit(
        "batch",
        {
            "job_type": "lip_sync",
            "rows": rows,
            "defaults": {"video": f"file://{tmp_path}/anna.jpg", "engine": "musetalk", "fps": "10"},
            "parallel": 1,
        },
    )

    def first_row():
        return [part for part in stage.parts(batch) if part["status"] == "succeeded"]

    eventually(first_row, 600)
    new.replace(folder / UNET)
    digests[new_sha] = here.digest(MODEL, "sd-vae")
    done = stage.wait(batch, 900)
    assert done["status"] == "succeeded", done
    parts = sorted(stage.parts(batch), key=lambda part: part["ended_at"])
    assert [part["status"] for part in parts] == ["succeeded"] * 4

    found = [stage.http.get(f"/v1/jobs/{part['id']}/lineage").json()["lineage"] for part in parts]
    named = []
    for lineage in found:
        (unet,) = (model["files"][UNET] for model in lineage["models"] if model["name"] == MODEL)
        assert lineage["settled"]["engine"]["crops"]["weights"] == digests[unet]
        named.append(unet)
    assert (named[0], named[-1]) == (old_sha, new_sha)
    assert named == sorted(named, key=[old_sha, new_sha].index), "rows went back to the old weights"
    for lineage, is_cached in ((found[0], False), (found[-1], True)):
        again = stage.wait(stage.submit("lip_sync", lineage["parameters"]), 600)
        assert ("join" in again["result"]["cached"]) == is_cached
