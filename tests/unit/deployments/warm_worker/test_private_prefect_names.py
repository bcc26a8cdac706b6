"""Private names of Prefect are imported in one module only, and each is known on the installed version."""

import ast
import importlib
from importlib.metadata import version
from pathlib import Path

import pytest

from deployments.warm_worker.prefect_internals import CHECKED_VERSIONS, PRIVATE_NAMES

REPOSITORY = Path(__file__).resolve().parents[4]
OWNER = Path("deployments/warm_worker/prefect_internals.py")
PACKAGES = ("api", "flows", "tasks", "deployments", "musetalk_core")


def private_imports(source):
    """Return the dotted names of private parts of Prefect that a module imports or reaches by attribute."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        found |= {name for name in names if name.split(".")[0] == "prefect" and "._" in name}
    return {name for name in found if not name.endswith("__version__")}


@pytest.mark.parametrize(
    "source",
    [
        "from prefect.types._datetime import now",
        "import prefect._internal.uuid7",
        "from prefect.engine import _drive_run_flow_result",
        "import prefect\nprefect.context._x",
    ],
)
def test_each_way_to_a_private_name_is_found(source):
    assert private_imports(source)


def test_only_one_module_imports_private_names():
    paths = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    using = {path.relative_to(REPOSITORY): private_imports(path.read_text()) for path in paths}

    assert {path: names for path, names in using.items() if names and path != OWNER} == {}
    assert using[OWNER] == set(PRIVATE_NAMES)


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_private_name_exists(name):
    module, _, attribute = name.rpartition(".")

    assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name)


def test_the_installed_version_was_checked():
    installed = version("prefect")

    assert installed in CHECKED_VERSIONS, (
        f"check {', '.join(PRIVATE_NAMES)} on Prefect {installed}, then add it to CHECKED_VERSIONS"
    )
