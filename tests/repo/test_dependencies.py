"""Imported packages are declared, and THIRD_PARTY.md lists what is installed."""

import ast
import importlib.util
import subprocess
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
    known = {canonicalize_name(need.name) for need in third_party.declared()}
    owners = packages_distributions()
    ours = {*PACKAGES, *sys.stdlib_module_names, *TYPES_ONLY}

    foreign = {module: path for module, path in imported().items() if module not in ours}
    assert len(foreign) > 20
    assert {
        f"{module} in {path}"
        for module, path in foreign.items()
        if not known & {canonicalize_name(name) for name in owners.get(module, ())}
    } == set()


def is_dated(need):
    """Whether the versions of a package are dates, which have no next major version."""
    return any(len(one.version.split(".")[0]) >= 8 for one in need.specifier)


def test_every_dependency_has_an_upper_bound_above_the_tested_version(third_party):
    tested = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    tested = {canonicalize_name(name): version for name, version in tested.items()}
    for need in third_party.declared():
        bounds = {one.operator for one in need.specifier}
        assert bounds & {"<", "==", "~="} or is_dated(need), f"{need}: the newest version is not tested"
        if version := tested.get(canonicalize_name(need.name)):
            assert need.specifier.contains(version, prereleases=True), f"{need}: tested with {version}"


def test_every_package_is_installed_with_what_it_requires():
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
