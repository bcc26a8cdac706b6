"""The full check of a model: every file read, its form, size and hash compared with what is known."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Literal

from musetalk_core.errors import WeightsInvalid
from musetalk_core.weights.kinds import fault
from musetalk_core.weights.layout import Layout
from musetalk_core.weights.ledger import OnBytes
from musetalk_core.weights.records import File, Wheel

Verdict = Literal["ok", "unknown", "missing", "wrong"]

Deep = Callable[[str, Mapping[str, Path]], None]
"""Takes a model's name and its files by role; raises WeightsInvalid when keys or shapes are wrong."""


@dataclass(frozen=True, slots=True)
class Checked:
    """
    A file that was looked at.

    Attributes:
        path:    where it is, or belongs.
        verdict: `unknown` = well formed, but nobody recorded what its hash should be.
        detail:  a sentence for people.
        sha256:  of what is there; None when it was not read.
    """

    path: Path
    verdict: Verdict
    detail: str
    sha256: str | None = None

    @property
    def is_bad(self) -> bool:
        """It cannot be used."""
        return self.verdict in ("missing", "wrong")


def verify(
    layout: Layout, name: str, deep: Deep | None = None, on_bytes: OnBytes | None = None
) -> list[Checked]:
    """
    Read every file of a model and compare it with what is known of it.

    Args:
        layout:   where the models are.
        name:     of the model.
        deep:     looks into files that are well so far; for the nets, which know their keys and shapes.
        on_bytes: called as files are read.

    Returns:
        One verdict a file, and one more where `deep` found a fault.

    Raises:
        InputError: there is no model of that name.
    """
    look = layout.look(name)
    checked = [check(layout, file, path, on_bytes) for file, path in look.found.items()]
    checked += [Checked(layout.target(file), "missing", "is missing") for file in look.missing]
    if deep is not None and not any(one.is_bad for one in checked):
        found = {file.role: path for file, path in look.found.items()}
        try:
            deep(name, found)
        except WeightsInvalid as error:
            checked.append(Checked(found.get("weights", layout.folder), "wrong", str(error)))
    return checked


def check(layout: Layout, file: File, path: Path, on_bytes: OnBytes | None = None) -> Checked:
    """
    Read one file and compare it with what is known of it.

    Args:
        layout:   its ledger knows what a file was when it came.
        file:     the record.
        path:     the file itself, anywhere.
        on_bytes: called as it is read.
    """
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return Checked(path, "wrong", f"has {size} bytes instead of {file.bytes}")
    packaged = isinstance(file.source, Wheel)  # their suffixes have meanings of their own
    bad = None if packaged else fault(path, PurePosixPath(file.path).suffix)
    if bad:
        return Checked(path, "wrong", bad)
    found = layout.ledger.read(path, on_bytes)
    if not file.is_known_as(found):
        return Checked(path, "wrong", f"has the SHA-256 {found} instead of {file.sha256}", found)
    return _compared(layout, file, path, found)


def _compared(layout: Layout, file: File, path: Path, found: str) -> Checked:
    """Compare a file with what its package or its pull says, where the manifest says too little."""
    if file.sha256 is not None:
        return Checked(path, "ok", "SHA-256 as recorded", found)
    origin = layout.ledger.origin(path)
    expected, whose = (
        (_recorded(file.source.distribution, file.path), "in its package")
        if isinstance(file.source, Wheel)
        else (origin.sha256 if origin else None, "when it was pulled")
    )
    if expected is None:
        return Checked(path, "unknown", "no SHA-256 is recorded to compare with", found)
    if expected != found:
        return Checked(path, "wrong", f"has the SHA-256 {found}; {whose} it was {expected}", found)
    return Checked(path, "ok", f"SHA-256 as {whose}", found)


def _recorded(name: str, path: str) -> str | None:
    """Return the hash that a package's own list of files gives."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return None
    for entry in files:
        if entry.as_posix() == path and entry.hash is not None and entry.hash.mode == "sha256":
            return base64.urlsafe_b64decode(entry.hash.value + "=").hex()
    return None
