"""Advice in errors fits the installation, whichever process writes the error."""

import ast
from pathlib import Path

import pytest

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
    assert (
        said.startswith("pip install 'musetalk-flows[neural,redis]'") and "--no-deps ai-edge-litert" in said
    )
    assert install_command("csm") == "musetalk weights pull csm"
    with pytest.raises(ModelNotInstalled, match="Run: musetalk weights pull whisper-medium"):
        choose("medium", "transcribe", "en", frozenset(), fallback=False)


def test_an_engine_without_its_packages_says_so_in_these_words(as_packages, monkeypatch):
    monkeypatch.setattr(engine_choice, "find_spec", lambda _: None)
    error = engine_choice._musetalk_error("v15")
    assert "Run: pip install" in str(error) and OF_A_CHECKOUT not in str(error)


def texts(path):
    """The text of a module without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
            yield node.value


def test_no_text_outside_the_command_line_assumes_a_checkout():
    for package in ("api", "flows", "tasks", "musetalk_core"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "installation.py":
                assert not [text for text in texts(path) if OF_A_CHECKOUT in text], path
