"""Imported packages are declared, and THIRD_PARTY.md lists what is installed."""

import ast
import importlib.util
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "flows", "tasks", "musetalk_core", "deployments")
TYPES_ONLY = {"_typeshed"}


@pytest.fixture(scope="module")
def third_party():
    spec = importlib.util.spec_from_file_location("third_party", ROOT / "docs" / "third_party.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported():
    """The top-level modules that the packages import, each with a file that does."""
    found = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found.update({name.split(".")[0]: path.relative_to(ROOT) for name in names})
    return found


def test_what_is_imported_is_declared(third_party):
    known = {canonicalize_name(need.name) for need in third_party.declared()} | set(
        third_party.WITHOUT_THEIR_NEEDS
    )
    owners = packages_distributions()
    ours = {*PACKAGES, *sys.stdlib_module_names, *TYPES_ONLY}

    foreign = {module: path for module, path in imported().items() if module not in ours}
    assert len(foreign) > 20
    assert {
        f"{module} in {path}"
        for module, path in foreign.items()
        if not known & {canonicalize_name(name) for name in owners.get(module, ())}
    } == set()


def test_every_installed_part_is_listed_with_its_licence(third_party):
    listed = set((ROOT / "THIRD_PARTY.md").read_text().splitlines())
    rows = [line for line in third_party.table().splitlines() if line.startswith("| ")]

    assert len(rows) > 100
    assert [row for row in rows if row not in listed] == []


def test_what_is_under_the_gpl_is_named_before_the_table(third_party):
    head = (ROOT / "THIRD_PARTY.md").read_text().partition(third_party.BEGIN)[0]

    for part in ("imageio-ffmpeg", "libx264", "soxr", "text-unidecode", "MUSETALK_MEDIA__FFMPEG"):
        assert part in head
    assert "THIRD_PARTY.md" in (ROOT / "README.md").read_text()
