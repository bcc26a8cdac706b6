"""The images of the Dockerfile, built by root without a Docker daemon: buildah, podman and runc of Debian."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import image_files
import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
"""The Dockerfile's base image with the default of PYTHON."""
PROGRAMS = ("buildah", "podman", "runc", "debootstrap", "ip", "nsenter")
FOLDER = Path(os.environ.get("MUSETALK_TEST_IMAGES", "/var/tmp/musetalk-flows-images"))
"""Layers stay here between runs, so that only what changed is built again."""
LIBRARIES = "ca-certificates libssl3 libsqlite3-0 libffi8 libbz2-1.0 liblzma5 zlib1g libreadline8 libexpat1"
"""Debian packages that a CPython needs."""


def skip_unless_images_can_be_built():
    """Skip by name where a program or a right is missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"images are built by {', '.join(missing)}, which is not installed")
    if os.geteuid():
        pytest.skip("images are built by root only")


def environment():
    """Return the environment of buildah and podman: layers in a folder of these tests."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    settings = FOLDER / "storage.conf"
    text = f'[storage]\ndriver = "overlay"\nrunroot = "{FOLDER}/run"\ngraphroot = "{FOLDER}/graph"\n'
    settings.write_text(text)
    return os.environ | {"CONTAINERS_STORAGE_CONF": str(settings)}


def podman(*words, check=True, timeout=600):
    """Run podman with runc (crun of Debian 12 fails with hybrid control groups); return what it did."""
    command = ["podman", "--runtime", shutil.which("runc"), "--cgroup-manager", "cgroupfs", *map(str, words)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0 or not check, f"{words}\n{done.stdout}{done.stderr}"
    return done


def make_base():
    """
    Make a stand-in of the base image where there is none: Debian and the Python of these tests.

    The image has the base's name, so the Dockerfile is built as it is.
    """
    if podman("image", "exists", BASE, check=False).returncode == 0:
        return
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the stand-in of the base image contains the Python of the tests, which has to be 3.11")
    root = FOLDER / "base"
    shutil.rmtree(root, ignore_errors=True)
    sources = "".join(path.read_text() for path in sorted(Path("/etc/apt").rglob("*.sources")))
    found = re.search(r"^URIs: (\S+)", sources, re.MULTILINE)
    mirror = found[1] if found else "http://deb.debian.org/debian"
    run("debootstrap", "--variant=minbase", "bookworm", root, mirror)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    run("chroot", root, "apt-get", "install", "-qq", "--no-install-recommends", *LIBRARIES.split(), **quiet)
    python = Path(sys.base_prefix)
    lib, ours = python / "lib/python3.11", root / "usr/local/lib/python3.11"
    left_out = shutil.ignore_patterns("__pycache__", "test", "site-packages", "*.a")
    shutil.copytree(lib, ours, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    (ours / "site-packages").mkdir()
    for library in (python / "lib").glob("libpython3*.so*"):
        shutil.copy(library, root / "usr/local/lib", follow_symlinks=False)
    shutil.copy(python / "bin/python3.11", root / "usr/local/bin")
    for link in ("python", "python3"):
        (root / "usr/local/bin" / link).symlink_to("python3.11")
    run("chroot", root, "ldconfig")
    run("chroot", root, "python", "-m", "ensurepip")
    (root / "usr/local/bin/pip").symlink_to("pip3")
    run("sh", "-c", f"rm -rf '{root}'/var/cache/apt/archives/*.deb '{root}'/var/lib/apt/lists/*")
    archive = FOLDER / "base.tar"
    run("tar", "-C", root, "-cf", archive, ".")
    podman("import", archive, BASE)
    archive.unlink()
    shutil.rmtree(root)


def run(*words, **options):
    """Run a command; its output is in the error if it fails."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=1800, **options)
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def pip_settings():
    """Return mounts of this machine's pip configuration and of the local indexes that it names, read-only."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    named = [Path(word.removeprefix("file://")) for word in listed.replace("'", " ").split()]
    folders = [Path("/etc/pip.conf"), Path("/etc/xdg/pip"), Path("/root/.config/pip/pip.conf")]
    folders += [path.parent if path.name == "simple" else path for path in named if path.is_absolute()]
    return [f"--volume={folder}:{folder}:ro" for folder in dict.fromkeys(folders) if folder.exists()]


def build():
    """
    Build the targets `worker` and `api` of the Dockerfile, unless their sources were built before.

    Returns:
        The name of the image by target.
    """
    make_base()
    tag = sources_hash()
    names = {target: f"localhost/musetalk-flows-{target}:{tag}" for target in ("worker", "api")}
    command = ["buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--no-cache"]
    command += ["--format", "docker", *pip_settings()]
    for target, name in names.items():
        if podman("image", "exists", name, check=False).returncode:
            # without its cache: that neither sees that a file mounted from another stage has changed nor
            # mounts a stage that it has
            run(*command, "--target", target, "--tag", name, ".", cwd=ROOT, env=environment())
    return names


def sources_hash():
    """Return a hash of everything that the images are built from."""
    copied = [word for rest in image_files.stages()["wheel"].all("COPY") for word in rest.split()[:-1]]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "Dockerfile", ".dockerignore", *copied],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = hashlib.sha256()
    for name in sorted(filter(None, listed.stdout.decode().split("\0"))):
        if (ROOT / name).is_file():
            found.update(f"{name}\0".encode() + (ROOT / name).read_bytes())
    return found.hexdigest()[:16]
