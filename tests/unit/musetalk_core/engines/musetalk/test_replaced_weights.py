"""Networks are known by the content of their files: replaced files are loaded anew, and never mixed up."""

import gc
import os
import shutil
import weakref
from pathlib import Path

import golden_data
import pytest
import tiny_csm
import tiny_vision
import torch

from musetalk_core.engines.musetalk import model_loaders
from musetalk_core.engines.musetalk.models import Networks
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions, resolve_options
from musetalk_core.errors import ModelChanged, WeightsInvalid
from musetalk_core.model_registry.hash_cache import HashCache, sha256_of
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.model_cache import ModelKey, get_loaded_model, model_cache
from musetalk_core.speech.tts.csm import model as csm_model
from musetalk_core.vision import vlm_loader

NETS = {
    "unet": ("unet-v15", "_unet"),
    "vae": ("vae", "vae"),
    "whisper": ("whisper", "whisper_encoder"),
    "parser": ("bisenet", "parser"),
}
WAYS = ("moved", "overwritten", "same size and times")


@pytest.fixture(autouse=True)
def fresh_cache():
    model_cache.cache_clear()
    yield
    model_cache.cache_clear()


def write(folder, net, weights="golden-1"):
    return golden_data.write_models(folder, net, weights)[0]


def replace(path, net, way, folder):
    """Put other weights of the same size in the place of a file, as people and programs do."""
    before = path.stat()
    other = write(folder / "other", net, "another")
    assert other.stat().st_size == before.st_size
    if way == "overwritten":
        with path.open("r+b") as file:
            file.write(other.read_bytes())
    else:
        if way == "same size and times":
            os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(path)


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "models"
    for net in ("unet-v15", "vae", "whisper", "bisenet"):
        write(folder, net)
    return RuntimeConfig(LocalModels(folder, tmp_path / "hashes.json"), device="cpu", landmarks="mesh")


def networks(machine):
    return Networks(resolve_options(MuseTalkEngineOptions()), machine)


def numbers(net):
    return torch.cat([value.detach().float().ravel() for value in module_of(net).state_dict().values()])


def module_of(net):
    parts = [net, *(getattr(net, name) for name in getattr(net, "__slots__", ()) or vars(net))]
    return next(part for part in parts if isinstance(part, torch.nn.Module))


@pytest.mark.parametrize(
    ("kind", "way"), [*(("unet", way) for way in WAYS), *((kind, "overwritten") for kind in list(NETS)[1:])]
)
def test_a_network_whose_file_was_replaced_is_loaded_anew_and_the_old_one_released(
    machine, tmp_path, kind, way
):
    net, verb = NETS[kind]
    first = networks(machine)
    old = getattr(first, verb)()
    before, gone = numbers(old).clone(), weakref.ref(module_of(old))
    path = machine.local_models.folder / golden_data.weights.NETS[net][1]
    replace(path, net, way, tmp_path)
    assert torch.equal(numbers(old), before), "a loaded network does not depend on its file"
    del old

    second = networks(machine)
    new = getattr(second, verb)()
    gc.collect()

    assert not torch.equal(numbers(new), before)
    assert gone() is None, "two sets of weights in memory"
    model_cache.cache_clear()
    assert torch.equal(numbers(getattr(networks(machine), verb)()), numbers(new))
    with pytest.raises(ModelChanged, match="Submit the job again"):
        getattr(first, verb)()


def test_a_network_in_memory_serves_a_job_that_began_with_it(machine, tmp_path):
    job = networks(machine)
    unet, digests = job._unet(), {stage: job.digest(stage) for stage in ("avatar", "features", "crops")}
    replace(machine.local_models.folder / "musetalkV15/unet.pth", "unet-v15", "moved", tmp_path)

    assert job._unet() is unet
    assert {stage: job.digest(stage) for stage in digests} == digests
    assert networks(machine).digest("crops") != digests["crops"]


def test_a_file_that_is_replaced_while_it_is_loaded_is_noticed(machine, tmp_path, monkeypatch):
    real = model_loaders.load_unet
    path = machine.local_models.folder / "musetalkV15/unet.pth"

    def slow(*args):
        net = real(*args)
        replace(path, "unet-v15", "same size and times", tmp_path)
        return net

    monkeypatch.setattr(model_loaders, "load_unet", slow)
    with pytest.raises(ModelChanged, match="while they were loaded"):
        networks(machine)._unet()
    assert not [
        key for key in model_cache(machine.memory_bytes, machine.idle_s).keys if key.name == "musetalk-v15"
    ]


def test_a_file_that_is_damaged_by_a_copy_under_way_is_a_change_and_no_damage(machine, monkeypatch):
    path = machine.local_models.folder / "musetalkV15/unet.pth"

    def copying(*_):
        path.write_bytes(path.read_bytes()[:1000])
        raise WeightsInvalid("it is cut short")

    monkeypatch.setattr(model_loaders, "load_unet", copying)
    with pytest.raises(ModelChanged):
        networks(machine)._unet()


def write_florence(folder, seed):
    # the weights that decide what it writes are set, the others are of chance
    tiny_vision.write_florence(folder, "<s>x", seed=seed)
    return folder / "vision" / "florence-2-base" / "model.safetensors"


def write_csm(folder, seed):
    tiny_csm.write_csm(folder, seed=seed)
    return folder / "csm-1b" / "transformers-00001-of-00002.safetensors"


FOLDERS = {
    "florence": (write_florence, lambda machine: vlm_loader.load_vlm("florence-2-base", machine)),
    "csm": (write_csm, csm_model.load_csm),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_models_out_of_folders_are_known_by_all_their_files(tmp_path, kind):
    write_files, load = FOLDERS[kind]
    folder = tmp_path / "models"
    path = write_files(folder, 0)
    machine = RuntimeConfig(LocalModels(folder, tmp_path / "hashes.json"), device="cpu")
    old = load(machine)
    assert load(machine) is old
    before = numbers(old).clone()
    other = write_files(tmp_path / "other", 1)
    with path.open("r+b") as file:
        file.write(other.read_bytes())

    assert torch.equal(numbers(old), before), "a loaded network does not depend on its file"
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert not torch.equal(numbers(load(machine)), before)
    config = path.parent / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    new = load(machine)
    config.write_text(config.read_text() + "\n")
    assert load(machine) is not new


def test_what_lies_beside_a_models_files_is_not_loaded(tmp_path):
    folder = tmp_path / "models"
    path = write_csm(folder, 0)
    machine = RuntimeConfig(LocalModels(folder, tmp_path / "hashes.json"), device="cpu")
    before = numbers(csm_model.load_csm(machine)).clone()
    model_cache.cache_clear()
    write_csm(tmp_path / "other", 1)
    for index in (tmp_path / "other/csm-1b").glob("*.safetensors*"):
        renamed = index.name.replace("transformers", "model")
        shutil.copy(index, path.parent / renamed)

    assert torch.equal(numbers(csm_model.load_csm(machine)), before)


@pytest.mark.parametrize("way", WAYS)
def test_a_hash_is_remembered_for_one_content(tmp_path, way):
    path = tmp_path / "models" / "net.pth"
    path.parent.mkdir()
    path.write_bytes(b"first one")
    ledger = HashCache(path.parent, tmp_path / "hashes.json")
    before, known = path.stat(), ledger.sha256(path)
    if way == "overwritten":
        path.write_bytes(b"secondone")
    else:
        other = tmp_path / "other"
        other.write_bytes(b"secondone")
        if way == "same size and times":
            # an inode that the file system gives out again
            path.write_bytes(other.read_bytes())
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            other.replace(path)

    assert ledger.sha256(path) == sha256_of(path) != known


def test_a_release_follows_the_name_and_the_content(machine):
    cache = model_cache(machine.memory_bytes, machine.idle_s)
    cache.get(ModelKey("a", "1"), list)
    cache.get(ModelKey("a", "1", ("fp16",)), list)
    cache.get(ModelKey("b", "1"), list)
    cache.get(ModelKey("a", "2"), list)

    assert {(key.name, key.digest) for key in cache.keys} == {("b", "1"), ("a", "2")}


def test_looking_up_a_loaded_model_does_not_read_its_files(machine, monkeypatch):
    (pinned,) = machine.local_models.pin("sd-vae")
    loaded = get_loaded_model(machine, pinned, (), lambda files: dict(files))
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a file was opened"))

    assert get_loaded_model(machine, pinned, (), lambda _: pytest.fail("loaded again")) is loaded
