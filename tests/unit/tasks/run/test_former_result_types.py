"""Results that earlier versions stored are read as the classes of today."""

import ast
import json
from importlib import import_module
from pathlib import Path

import pytest
from prefect.serializers import JSONSerializer
from pydantic import BaseModel

from tasks import refs
from tasks.run.former_result_types import CURRENT_PATHS
from tasks.steps.speak import SpokenText  # with its policy, which registers the former paths

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("former", CURRENT_PATHS)
def test_a_former_path_leads_to_the_class_of_today(former):
    module, _, name = former.rpartition(".")

    assert issubclass(getattr(import_module(module), name), BaseModel)
    assert not (ROOT / (module.replace(".", "/") + ".py")).exists()


def test_other_names_of_a_former_module_are_unknown():
    with pytest.raises(AttributeError, match="no attribute 'speak'"):
        _ = import_module("tasks.voice").speak


def test_a_record_of_0_1_is_read(monkeypatch):
    entry = {"kind": "speech", "key": "a" * 64, "size": 5, "files": ["speech.wav"]}
    data = {"artefact": entry, "duration_s": 1.5, "spans_s": [[0.0, 1.5]]}
    monkeypatch.setattr(refs, "_artefact_exists", None)  # the entry is in no store here

    read = JSONSerializer().loads(json.dumps({"__class__": "tasks.voice.SpokenText", "data": data}).encode())

    assert type(read) is SpokenText and read.artefact.files == ("speech.wav",)


def test_every_class_that_a_cached_task_returns_is_known():
    """A stored class that moves needs a line in CURRENT_PATHS, so each is named there."""
    found = set()
    for path in [*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            decorators = "".join(map(ast.unparse, getattr(node, "decorator_list", ())))
            if isinstance(node, ast.FunctionDef) and "BY_CONTENT" in decorators:
                found.add(ast.unparse(node.returns))

    assert found == {"Artefact", *(path.rpartition(".")[2] for path in CURRENT_PATHS.values())}
