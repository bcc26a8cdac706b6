"""
Reading of manifests in a process of its own, with limits on time and memory, for files from strangers.

A manifest is parsed by native code. Whatever a hostile one does to that code, the caller gets an answer.
"""

import json
import mmap
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from musetalk_core.content_credentials.reading import verify_file

_MODULE: Final = "musetalk_core.content_credentials.isolated"
_MEMORY_BYTES: Final = 4 << 30
"""Limit of the address space for a verification, most of which is libraries and the mapped file."""
_INPUT_MEMORY_BYTES: Final = 1 << 30
"""The same for the manifest of a job's input, which the worker reads in its own process afterwards."""
_INPUT_LIMIT_S: Final = 20.0
_HASHED_BYTES_PER_S: Final = 100 << 20
"""Time allowed for hashing a file, on a busy machine."""
_SUPERBOX: Final = b"jumb"
"""Type of the box that begins each manifest store, in files of all types."""


def verify_isolated(
    path: Path, media_type: str, *, anchors: str, sidecar: Path | None, limit_s: float
) -> dict[str, Any]:
    """
    Verify a file's manifest as `verify_file` does, in a separate process.

    Args:
        path:       the file.
        media_type: its media type.
        anchors:    trusted root certificates in PEM, one after the other; empty for none.
        sidecar:    file with the manifest store; None for the embedded one.
        limit_s:    time limit in seconds.

    Returns:
        The fields of a `Verification`. A check that ends abnormally or takes too long gives `altered`.
    """
    found = _in_process(path, media_type, anchors, sidecar, limit_s, _MEMORY_BYTES)
    return _unreadable(found) if isinstance(found, str) else found


def is_manifest_readable(path: Path, media_type: str) -> bool:
    """
    Return whether a file's embedded manifest can be read with 1 GiB of memory and in bounded time.

    A file without a manifest gives True after one search through its bytes, any other file needs a process.

    Args:
        path:       the file.
        media_type: its media type.
    """
    size = path.stat().st_size
    if not _contains(path, size, _SUPERBOX):
        return True
    limit_s = _INPUT_LIMIT_S + size / _HASHED_BYTES_PER_S
    found = _in_process(path, media_type, "", None, limit_s, _INPUT_MEMORY_BYTES)
    return not isinstance(found, str) and (found["state"] != "altered" or found["manifest"] is not None)


def _contains(path: Path, size: int, part: bytes) -> bool:
    if not size:  # an empty file cannot be mapped
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(part) >= 0


def _in_process(
    path: Path, media_type: str, anchors: str, sidecar: Path | None, limit_s: float, memory_bytes: int
) -> dict[str, Any] | str:
    """Return the fields of a `Verification`; if the process did not make one, the reason."""
    request = {
        "path": str(path),
        "media_type": media_type,
        "anchors": anchors,
        "sidecar": str(sidecar) if sidecar else None,
        "limit_s": limit_s,
        "memory_bytes": memory_bytes,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", _MODULE],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"checking it took more than {limit_s:g} s"
    if done.returncode != 0:
        return f"the check ended with code {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _unreadable(problem: str) -> dict[str, Any]:
    problems = [f"the manifest cannot be read: {problem}"]
    return {"state": "altered", "problems": problems, "manifest": None, "embedded": False}


def _main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    seconds = int(request["limit_s"]) + 1
    for kind, limit in ((resource.RLIMIT_AS, request["memory_bytes"]), (resource.RLIMIT_CPU, seconds)):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sidecar = Path(request["sidecar"]).read_bytes() if request["sidecar"] else None
    found = verify_file(
        Path(request["path"]), request["media_type"], anchors=request["anchors"], sidecar=sidecar
    )
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    _main()
