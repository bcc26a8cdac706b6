"""The map of packages in docs/explanation/architecture.md, compared with imports and folders."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("deployments", "api", "flows", "tasks", "musetalk_core")
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
MAX_MODULES = 20
"""Modules side by side in one folder, `__init__` not counted."""


def rows(heading):
    """Return the rows of the table whose first header cells are given, as lists of cells."""
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return {
        cells[0].strip("`/ "): cells[1:]
        for cells in ([c.strip() for c in r.strip("| ").split("|")] for r in table)
    }


def modules(package):
    return [path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts]


def imported_packages(package):
    found = set()
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
    return found & set(PACKAGES) - {package}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_names_every_subpackage(package):
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}

    holds = rows("| Package | Holds |")[package][0]

    assert folders <= set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", holds))))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_what_the_map_allows(package):
    allowed = rows("| Package | Holds |")[package][1]
    named = (
        set(PACKAGES) - {package}
        if allowed == "all packages"
        else set(PACKAGES) & set(re.findall(r"\w+", allowed))
    )
    if "never `musetalk_core`" in allowed:
        named -= {"musetalk_core"}

    assert imported_packages(package) <= named


def test_the_layers_on_the_map_are_those_of_the_contracts():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {
        one["containers"][0]: one["layers"]
        for one in contracts
        if one["type"] == "layers" and "containers" in one
    }

    written = {package: cells[0] for package, cells in rows("| Package | Layers").items()}

    assert written == {
        package: " > ".join(part.replace(" : ", ", ") for part in parts) for package, parts in layers.items()
    }


def test_no_folder_is_crowded():
    counts = {}
    for package in PACKAGES:
        for path in modules(package):
            if path.name != "__init__.py":
                counts[path.parent] = counts.get(path.parent, 0) + 1

    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > MAX_MODULES} == {}


@pytest.mark.parametrize("package", ["deployments", "flows", "tasks", "musetalk_core"])
def test_unit_tests_mirror_the_packages(package):
    folders = [path for path in (ROOT / "tests" / "unit" / package).rglob("*") if path.is_dir()]

    strange = [
        str(f)
        for f in folders
        if f.name != "__pycache__" and not (ROOT / f.relative_to(ROOT / "tests" / "unit")).is_dir()
    ]

    assert folders and strange == []
