"""The loaded starter models, once a session, and tiny ones of the large models' classes."""

import pytest
import tiny_vision

from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.vision.ocr import OcrReader


@pytest.fixture(scope="session")
def starter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("no-models")
    return LocalModels(folder, folder / "weights.json")


@pytest.fixture(scope="session")
def reader(starter):
    """The reader with one thread: of two, one spins while it waits, which takes half as much time again."""
    return OcrReader(starter, threads=1)


@pytest.fixture(scope="session")
def machines(tmp_path_factory):
    """`machines("florence-2-base", says)`: a machine on which this model is installed and says that."""

    def machine(name, says):
        folder = tmp_path_factory.mktemp("models")
        write = tiny_vision.write_florence if name.startswith("florence") else tiny_vision.write_smolvlm
        write(folder, says, name)
        return RuntimeConfig(LocalModels(folder, folder / "weights.json"), device="cpu")

    return machine
