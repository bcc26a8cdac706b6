"""Advice in errors fits the installation, whichever process writes the error."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from api.client import ApiUnreachable, MusetalkClient
from musetalk_core import installation
from musetalk_core.errors import ModelNotInstalled
from musetalk_core.model_registry.registry import install_command
from musetalk_core.transcription.model_choice import choose
from tasks.models import engine_choice

ROOT = Path(__file__).parents[3]
OF_A_CHECKOUT = "./run "


@pytest.fixture
def as_packages(monkeypatch, tmp_path):
    """The program as pip installs it: no script `run` beside the packages."""
    monkeypatch.setattr(installation, "_ROOT", tmp_path)


def test_a_checkout_is_told_to_use_its_script():
    assert installation.setup_command() == "./run setup"
    assert install_command("csm") == "./run musetalk weights pull csm"
    assert install_command("face-mesh") == "./run setup"


def test_packages_are_told_to_use_pip_and_the_command(as_packages):
    said = installation.setup_command()
    assert said.startswith("pip install 'musetalk-flows[neural,redis]")
    assert install_command("csm") == "musetalk weights pull csm"
    with pytest.raises(ModelNotInstalled, match="Run: musetalk weights pull whisper-medium"):
        choose("medium", "transcribe", "en", frozenset(), fallback=False)


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "'musetalk-flows[redis]'"),
        (
            '{"url": "file:///tmp/musetalk_flows-1.whl"}',
            "'musetalk-flows[redis] @ file:///tmp/musetalk_flows-1.whl'",
        ),
        ("{}", "'musetalk-flows[redis]'"),
    ],
)
def test_what_was_installed_from_a_file_is_completed_from_it(as_packages, monkeypatch, origin, requirement):
    found = SimpleNamespace(read_text=lambda _: origin)
    monkeypatch.setattr(installation, "distribution", lambda _: found)
    assert installation.extras_command("redis") == f"pip install {requirement}"


def test_an_engine_without_its_packages_says_so_in_these_words(as_packages, monkeypatch):
    monkeypatch.setattr(engine_choice, "find_spec", lambda _: None)
    error = engine_choice._musetalk_error("v15")
    assert "Run: pip install" in str(error) and OF_A_CHECKOUT not in str(error)


COMMAND = re.compile(
    r"(?<![\w./-])musetalk (api|batch|cancel|demo|deploy|doctor|jobs|keys|lineage|pipeline|provenance|result"
    r"|server|setup|submit|up|verify|watch|weights|worker)\b"
)
"""A command as people type it where the program was installed with pip."""
DESCRIPTIONS = {"description", "help"}
"""Arguments with texts of the reference, which name commands and advise none."""


def texts(path):
    """The texts of a module that a user may read: strings without docstrings and descriptions of fields."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            described.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg in DESCRIPTIONS:
            described.update(id(part) for part in ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.value


@pytest.mark.parametrize("package", ["api", "flows", "tasks", "musetalk_core", "deployments"])
def test_every_advice_takes_the_command_from_the_installation(package):
    writers = {ROOT / "musetalk_core" / "installation.py", ROOT / "deployments" / "cli" / "errors.py"}
    for path in sorted((ROOT / package).rglob("*.py")):
        if path not in writers:
            assert not [text for text in texts(path) if OF_A_CHECKOUT in text or COMMAND.search(text)], path


def test_the_search_for_such_texts_finds_them(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        '"""Docstring of `musetalk up`."""\n'
        'raise ValueError(f"work pool {pool}: run `musetalk deploy`")\n'
        'field(description="`musetalk up` sets this.")\n'
    )
    assert [text for text in texts(module) if COMMAND.search(text)] == [": run `musetalk deploy`"]


def test_the_api_advises_the_command_of_this_installation(as_packages, monkeypatch):
    with pytest.raises(ApiUnreachable, match="Start it with `musetalk up`"):
        MusetalkClient("http://127.0.0.1:9").ready()
    monkeypatch.undo()
    with pytest.raises(ApiUnreachable, match=r"Start it with `\./run musetalk up`"):
        MusetalkClient("http://127.0.0.1:9").ready()
