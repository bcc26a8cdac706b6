"""Finding models on the disk, their digests, and the full check. No network at all."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

from musetalk_core.errors import InputError, ModelNotInstalled, WeightsInvalid
from musetalk_core.faces.tflite import DETECTOR, MESH
from musetalk_core.model_registry import file_checks
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.model_registry.registry import GROUPS, MODELS, get_model, install_command, resolve_models
from musetalk_core.model_registry.schema import Bundled, File, Hub, Wheel
from musetalk_core.model_registry.verify import verify_model
from musetalk_core.transcription.model_choice import WhisperSize, model_name

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def here(tmp_path):
    return LocalModels(tmp_path / "models", tmp_path / "home" / "weights.json", (tmp_path / "hubs",))


TENSORS = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00. tensors"
"""The start of a pickle that holds a tensor."""


def put(here, path, body=TENSORS):
    target = here.folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(body)
    return target


def all_files():
    return {file for model in MODELS.values() for files in model.file_sets for file in files}


def test_the_table_is_consistent():
    for name, model in MODELS.items():
        assert model.name == name and model.licence and model.title
        assert set(model.needs) <= MODELS.keys()
        for files in model.file_sets:
            assert len({file.role for file in files}) == len(files)
    for file in all_files():
        assert ".." not in file.path and not file.path.startswith("/")
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{8,64}", file.sha256)
    assert not GROUPS.keys() & MODELS.keys()


def test_no_model_needs_what_is_only_for_training_or_overwritten():
    assert not [file for file in all_files() if "resnet18" in file.path or "syncnet" in file.path]


def test_hashes_are_those_of_whoever_publishes_them():
    mesh = {file.path: file.sha256 for file in MODELS["face-mesh"].files}
    assert mesh == {one.name: one.sha256 for one in (DETECTOR, MESH)}
    package = find_spec("whisper")
    if package is None or package.origin is None:
        pytest.skip("openai-whisper is not installed")
    source = Path(package.origin).read_text()
    checkpoints = {file.name.removesuffix(".pt"): file for file in all_files() if file.path.endswith(".pt")}
    assert checkpoints.keys() == {"tiny", "tiny.en", "base", "small", "medium", "large-v2", "large-v3"}
    for name, file in checkpoints.items():
        assert f'"{name}": "{file.source.url}"' in source
        assert file.sha256 in file.source.url
    assert f'"large": "{checkpoints["large-v3"].source.url}"' in source


def test_a_group_is_what_the_model_needs():
    names = [model.name for model in resolve_models(["musetalk"])]

    assert names == ["musetalk-v15", "sd-vae", "whisper-tiny", "dwpose", "face-parse", "s3fd"]
    assert [model.name for model in resolve_models(["musetalk-v1"])][1:] == names[1:]
    assert (install_command("sd-vae"), install_command("musetalk-v1")) == (
        "./run musetalk weights pull musetalk",
        "./run musetalk weights pull musetalk-v1",
    )


def test_the_original_folder_is_used_as_it_is(here):
    config = put(here, "musetalkV15/musetalk.json", b"{}")
    unet = put(here, "musetalkV15/unet.pth")
    tiny = put(here, "whisper/tiny.pt")

    assert here.find("musetalk-v15") == {"config": config, "weights": unet}
    assert here.find("whisper-tiny") == {"weights": tiny}
    assert {"musetalk-v15", "whisper-tiny"} <= set(here.installed_models())
    assert here.status("musetalk-v1").state == "missing"


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"])
def test_either_format_does_and_the_safer_one_wins(here, name):
    put(here, "sd-vae/config.json", b"{}")
    mine = put(here, f"sd-vae/{name}")
    assert here.find("sd-vae")["weights"] == mine

    better = put(here, "sd-vae/diffusion_pytorch_model.safetensors")
    assert here.find("sd-vae")["weights"] == better


@pytest.mark.parametrize("place", ["s3fd/s3fd-619a316812.pth", "s3fd/s3fd.pth", "s3fd.pth"])
def test_the_face_detector_is_found_where_people_have_it(here, place):
    mine = put(here, place)
    assert here.find("s3fd") == {"weights": mine}


def test_the_face_detector_is_found_in_the_folder_of_torch(here, tmp_path):
    mine = tmp_path / "hubs" / "s3fd-619a316812.pth"
    mine.parent.mkdir()
    mine.write_bytes(b"\x80")

    assert here.find("s3fd") == {"weights": mine}


def test_what_is_missing_is_named_with_the_command(here):
    config = put(here, "musetalkV15/musetalk.json", b"{}")

    with pytest.raises(ModelNotInstalled) as caught:
        here.find("musetalk-v15")

    assert str(caught.value) == (
        f"The model musetalk-v15 is not installed: {config.with_name('unet.pth')} is missing."
        " Run: ./run musetalk weights pull musetalk"
    )
    assert caught.value.details == {"model": "musetalk-v15", "file": "musetalkV15/unet.pth"}
    assert here.status("musetalk-v15").state == "partial"


def test_a_pointer_is_not_a_file(here):
    put(here, "dwpose/dw-ll_ucoco_384.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")

    with pytest.raises(ModelNotInstalled, match="is only a Git LFS pointer"):
        here.find("dwpose")


def test_an_unknown_model_is_told(here):
    with pytest.raises(InputError, match="There is no model gpt"):
        here.find("gpt")


@pytest.mark.parametrize(
    ("name", "similar"), [("whisper-bases", "whisper-base"), ("musetalk-v16", "musetalk-v15")]
)
def test_a_misspelt_model_suggests_the_right_one(here, name, similar):
    with pytest.raises(InputError, match=f"There is no model {name}. Did you mean {similar}?"):
        here.find(name)


def test_every_whisper_size_of_a_job_has_a_model_of_its_name():
    for size in get_args(WhisperSize):
        assert get_model(f"whisper-{size}").name == model_name(size)


def test_what_came_with_the_installation_is_found_and_whole(here):
    for name in GROUPS["starter"]:
        assert {one.verdict for one in verify_model(here, name)} == {"ok"}
    assert not here.folder.exists()


def test_a_package_that_is_not_installed_is_missing(here, known):
    known("odd", File("odd/w.onnx", "weights", Wheel("no-such-distribution"), 1))

    assert here.status("odd").state == "missing"
    with pytest.raises(ModelNotInstalled):
        here.find("odd")


# --- digests


def test_a_digest_tells_contents_apart_and_not_places(here, tmp_path):
    put(here, "dwpose/dw-ll_ucoco_384.pth")
    digest = here.digest("dwpose")
    moved = LocalModels(tmp_path / "elsewhere", tmp_path / "w.json")
    shutil.copytree(here.folder, moved.folder)

    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert moved.digest("dwpose") == digest
    put(moved, "dwpose/dw-ll_ucoco_384.pth", b"\x80 other")
    assert moved.digest("dwpose") != digest


def test_a_digest_of_several_does_not_depend_on_their_order(here):
    put(here, "dwpose/dw-ll_ucoco_384.pth")
    put(here, "s3fd.pth")

    assert here.digest("dwpose", "s3fd") == here.digest("s3fd", "dwpose", "s3fd")
    assert here.digest("dwpose") != here.digest("s3fd") != here.digest("dwpose", "s3fd")


def counted(monkeypatch):
    read = []
    real = hashlib.sha256

    def sha256_of(path, on_bytes=None):
        read.append(path.name)
        return real(path.read_bytes()).hexdigest()

    monkeypatch.setattr("musetalk_core.model_registry.hash_cache.sha256_of", sha256_of)
    return read


def test_a_file_is_read_once_until_it_changes(here, tmp_path, monkeypatch):
    read = counted(monkeypatch)
    path = put(here, "dwpose/dw-ll_ucoco_384.pth")

    before = here.digest("dwpose")
    again = LocalModels(here.folder, tmp_path / "other.json").digest("dwpose")
    assert (again, len(read)) == (before, 1)

    path.write_bytes(b"\x80\x02 TENSORS")  # same length, another time
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert here.digest("dwpose") != before
    assert len(read) == 2


def test_a_replaced_file_is_noticed_even_with_the_same_time_and_size(here, monkeypatch):
    path = put(here, "dwpose/dw-ll_ucoco_384.pth")
    before, times = here.digest("dwpose"), path.stat()
    other = path.with_name("other")
    other.write_bytes(b"\x80\x02 TENSORS")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)

    assert here.digest("dwpose") != before


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"files": 3}', '{"files": {"dwpose/dw-ll_ucoco_384.pth": 3}}']
)
def test_a_damaged_memory_is_begun_anew(here, content):
    put(here, "dwpose/dw-ll_ucoco_384.pth")
    digest = here.digest("dwpose")
    book = here.folder / ".weights.json"
    book.write_text(content)

    assert here.digest("dwpose") == digest
    assert json.loads(book.read_text())["files"]
    assert sorted(p.name for p in here.folder.iterdir()) == [".weights.json", "dwpose"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_remembered_at_home(here, tmp_path, monkeypatch):
    read = counted(monkeypatch)
    put(here, "dwpose/dw-ll_ucoco_384.pth")
    here.folder.chmod(0o555)
    try:
        assert here.digest("dwpose") == here.digest("dwpose")
    finally:
        here.folder.chmod(0o755)

    assert len(read) == 1
    assert (tmp_path / "home" / "weights.json").is_file()


def test_where_the_folder_refuses_the_memory_is_at_home(here, tmp_path, monkeypatch):
    read = counted(monkeypatch)
    put(here, "dwpose/dw-ll_ucoco_384.pth")
    (here.folder / ".weights.json").mkdir()  # as good as read-only

    assert here.digest("dwpose") == here.digest("dwpose")
    assert len(read) == 1
    assert (tmp_path / "home" / "weights.json").is_file()


# --- the full check


def test_a_known_hash_is_compared(here):
    put(here, "s3fd.pth")

    [one] = verify_model(here, "s3fd")

    assert one.is_bad and "instead of 619a316812" in one.detail


def test_an_unknown_hash_is_computed_and_shown(here):
    path = put(here, "dwpose/dw-ll_ucoco_384.pth")

    [one] = verify_model(here, "dwpose")

    assert (one.verdict, one.sha256) == ("unknown", hashlib.sha256(path.read_bytes()).hexdigest())


def test_missing_files_are_bad(here):
    put(here, "musetalkV15/musetalk.json", b"{}")

    assert [(one.path.name, one.is_bad) for one in verify_model(here, "musetalk-v15")] == [
        ("musetalk.json", False),
        ("unet.pth", True),
    ]


def test_a_size_that_is_known_is_compared(here, known):
    known("net", File("net.pth", "weights", Hub("a/b", "net.pth"), 4, bytes=4))
    put(here, "net.pth", b"\x80123456")

    [one] = verify_model(here, "net")

    assert one.detail == "has 7 bytes instead of 4"


def test_the_nets_may_look_deeper(here):
    put(here, "dwpose/dw-ll_ucoco_384.pth")

    def deep(name, files):
        assert (name, set(files)) == ("dwpose", {"weights"})
        raise WeightsInvalid("a key is missing")

    assert verify_model(here, "dwpose", deep)[-1].detail == "a key is missing"


def test_a_changed_vendored_file_is_wrong(here, known, monkeypatch, tmp_path):
    monkeypatch.setattr("musetalk_core.model_registry.local_models._BUNDLED_FOLDER", tmp_path)
    known("mine", File("m.tflite", "mesh", Bundled(), 3, sha256="0" * 64))
    (tmp_path / "m.tflite").write_bytes(b"abc")

    assert verify_model(here, "mine")[0].verdict == "wrong"


# --- forms


def safetensors(data=b"\0" * 8, end=8):
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, end]}})
    return len(header).to_bytes(8, "little") + header.encode() + data


@pytest.mark.parametrize(
    ("suffix", "body", "fault"),
    [
        (".json", b'{"a": 1}', None),
        (".json", b"<html>", "is not JSON"),
        (".safetensors", safetensors(), None),
        (".safetensors", safetensors()[:-1], "is cut short"),
        (".safetensors", b"", "is not a safetensors file"),
        (".safetensors", b"<html>" * 9, "is not a safetensors file"),
        (".safetensors", (3).to_bytes(8, "little") + b"[1]" + b"x" * 9, "is not a safetensors file"),
        (".pth", b"\x80\x02", None),
        (".pth", b"PK\x03\x04 cut", "is cut short"),
        (".bin", b"<html>", "is not a file that torch wrote"),
        (".pt", b"", "is not a file that torch wrote"),
        (".pt", b"version https://git-lfs.github.com/spec/v1", "is only a Git LFS pointer"),
        (".onnx", b"whatever", None),
    ],
)
def test_mistaken_files_are_known_from_outside(tmp_path, suffix, body, fault):
    path = tmp_path / "x.part"
    path.write_bytes(body)

    assert file_checks.problem(path, suffix) == fault


def test_a_whole_zip_is_well_and_a_cut_one_is_not(tmp_path):
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"1" * 5000)

    assert file_checks.problem(path, ".pth") is None
    path.write_bytes(path.read_bytes()[:-100])
    assert file_checks.problem(path, ".pth") == "is cut short"


def test_the_core_part_loads_no_numeric_or_network_library():
    code = "import sys\nfrom musetalk_core.model_registry import local_models, verify\n"
    code += "print(sorted({'numpy', 'torch', 'httpx', 'httpx2', 'huggingface_hub'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
