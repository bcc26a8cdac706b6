"""Installed packages, error classes and rules for files of the repository."""

import importlib.util
import inspect
import pickle
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest

import musetalk_core.errors
import tasks.errors

ROOT = Path(__file__).resolve().parents[2]


def test_only_the_headless_opencv_is_installed():
    names = {(d.metadata["Name"] or "").lower().replace("_", "-") for d in distributions()}

    assert {n for n in names if n.startswith("opencv")} == {"opencv-python-headless"}


@pytest.mark.parametrize("name", ["api", "flows", "tasks", "musetalk_core", "deployments"])
def test_our_package_names_are_ours(name):
    spec = importlib.util.find_spec(name)

    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


def every_error():
    modules = (musetalk_core.errors, tasks.errors)
    return sorted(
        {
            cls
            for module in modules
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if issubclass(cls, musetalk_core.errors.RenderError)
        },
        key=lambda cls: cls.__name__,
    )


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_errors_cross_process_borders_whole(cls):
    found = pickle.loads(pickle.dumps(cls("no luck", frame=7)))

    assert (type(found), str(found), found.details) == (cls, "no luck", {"frame": 7})
    assert cls.code
    assert cls.__doc__


def test_errors_are_listed_with_their_codes():
    text = musetalk_core.errors.__doc__ or ""
    missing = [cls.__name__ for cls in every_error() if cls.code not in text]

    assert missing == []


def test_no_file_is_longer_than_400_lines():
    packages = ("api", "flows", "tasks", "musetalk_core", "deployments")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    long = {str(p.relative_to(ROOT)): n for p in files if (n := len(p.read_text().splitlines())) > 400}

    assert long == {}


def test_media_files_lie_in_their_folders():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    endings = (
        ".wav",
        ".mp3",
        ".m4a",
        ".ogg",
        ".flac",
        ".mp4",
        ".mov",
        ".webm",
        ".mkv",
        ".png",
        ".jpg",
        ".webp",
    )
    folders = ("tests/assets/", "deployments/assets/", "docs/images/", "musetalk_core/")
    files = [name for name in listed.stdout.split("\0") if name.endswith(endings)]

    assert files and [name for name in files if not name.startswith(folders)] == []


def test_the_tests_that_the_page_on_parity_names_exist():
    page = (ROOT / "docs" / "explanation" / "parity.md").read_text()
    named = {part.strip(" `").split("`")[0] for part in page.split("`") if part.startswith("test_")}
    here = [path.stem for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(named) > 15
    for name in named:
        stem = name.removesuffix("_*")
        assert any(found.startswith(stem) if name.endswith("*") else found == stem for found in here), name


def test_the_tests_that_the_page_on_security_names_exist():
    page = (ROOT / "docs" / "explanation" / "security.md").read_text()
    named = {part for part in page.split("`")[1::2] if part.startswith("test_")}
    here = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    assert len(named) > 50
    assert named - here == set()
