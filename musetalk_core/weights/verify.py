"""Full verification of an installed model: every file is read; format, size and hash are compared."""

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
"""Takes a model's name and its files by role; raises WeightsInvalid if keys or shapes are wrong."""


@dataclass(frozen=True, slots=True)
class Checked:
    """
    The result of one file's check.

    Attributes:
        path:    where the file is, or should be.
        verdict: `unknown`: the format is valid, but no hash is recorded to compare with.
        detail:  the end of a sentence that starts with the file's path.
        sha256:  of the file; None if it was not read.
    """

    path: Path
    verdict: Verdict
    detail: str
    sha256: str | None = None

    @property
    def is_bad(self) -> bool:
        """Return whether the file cannot be used."""
        return self.verdict in ("missing", "wrong")


def verify(
    layout: Layout, name: str, deep: Deep | None = None, on_bytes: OnBytes | None = None
) -> list[Checked]:
    """
    Read every file of a model and compare it with the registry.

    Args:
        local_models:  the models folder.
        name:          of the model.
        content_check: checks files that passed so far; for networks that know their keys and shapes.
        on_bytes:      called as files are read.

    Returns:
        One result per file, and one more if `content_check` found a problem.

    Raises:
        InputError: the model is unknown.
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
    Read one file and compare it with the registry.

    Args:
        local_models: its hash cache holds the hash recorded at download.
        file:         the registry's record.
        path:         of the file, anywhere.
        on_bytes:     called as the file is read.
    """
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return Checked(path, "wrong", f"has {size} bytes instead of {file.bytes}")
    packaged = isinstance(file.source, Wheel)  # packages use other suffixes for other formats
    bad = None if packaged else fault(path, PurePosixPath(file.path).suffix)
    if bad:
        return Checked(path, "wrong", bad)
    found = layout.ledger.read(path, on_bytes)
    if not file.is_known_as(found):
        return Checked(path, "wrong", f"has the SHA-256 {found} instead of {file.sha256}", found)
    return _compared(layout, file, path, found)


def _compared(layout: Layout, file: File, path: Path, found: str) -> Checked:
    """Compare a file's hash with its package's or its download's, if the registry has none."""
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
    """Return the SHA-256 from a package's own file list; None if there is none."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return None
    for entry in files:
        if entry.as_posix() == path and entry.hash is not None and entry.hash.mode == "sha256":
            return base64.urlsafe_b64decode(entry.hash.value + "=").hex()
    return None
