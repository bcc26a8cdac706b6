"""
Verification in a process of its own, with limits on time and memory, for files from strangers.

A manifest is parsed by native code. Whatever a hostile one does to that code, the caller gets an answer.
"""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from musetalk_core.content_credentials.reading import verify_file

_MODULE: Final = "musetalk_core.content_credentials.isolated"
_MEMORY_BYTES: Final = 4 << 30
"""Limit of the address space, most of which is libraries and the mapped file."""


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
    request = {
        "path": str(path),
        "media_type": media_type,
        "anchors": anchors,
        "sidecar": str(sidecar) if sidecar else None,
        "limit_s": limit_s,
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
        return _unreadable(f"checking it took more than {limit_s:g} s")
    if done.returncode != 0:
        return _unreadable(f"the check ended with code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _unreadable(problem: str) -> dict[str, Any]:
    problems = [f"the manifest cannot be read: {problem}"]
    return {"state": "altered", "problems": problems, "manifest": None, "embedded": False}


def _main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    seconds = int(request["limit_s"]) + 1
    for kind, limit in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, seconds)):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sidecar = Path(request["sidecar"]).read_bytes() if request["sidecar"] else None
    found = verify_file(
        Path(request["path"]), request["media_type"], anchors=request["anchors"], sidecar=sidecar
    )
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    _main()
