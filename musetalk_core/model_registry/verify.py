"""Full verification of an installed model: every file is read; format, checksums, size, hash and content."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Literal

from musetalk_core.errors import WeightsInvalid
from musetalk_core.model_registry.file_checks import checksum_problem, pickle_problem, problem
from musetalk_core.model_registry.hash_cache import OnBytes
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.model_registry.schema import Bundled, File, Wheel

Verdict = Literal["ok", "unknown", "missing", "wrong"]

ContentCheck = Callable[[str, Mapping[str, Path]], None]
"""Takes a model's name and its files by role; raises WeightsInvalid if keys or shapes are wrong."""


@dataclass(frozen=True, slots=True)
class FileCheck:
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


def verify_model(
    local_models: LocalModels,
    name: str,
    content_check: ContentCheck | None = None,
    on_bytes: OnBytes | None = None,
) -> list[FileCheck]:
    """
    Read every file of a model and compare it with the registry.

    Args:
        local_models:  the models folder.
        name:          of the model.
        content_check: checks the content of files that passed so far, unless all have published hashes.
        on_bytes:      called as files are read.

    Returns:
        One result per file, and one more if `content_check` found a problem.

    Raises:
        InputError: the model is unknown.
    """
    status = local_models.status(name)
    results = [check_file(local_models, file, path, on_bytes) for file, path in status.paths.items()]
    results += [FileCheck(local_models.target_path(file), "missing", "is missing") for file in status.missing]
    is_unpublished = any(_has_no_published_hash(file) for file in status.paths)
    if content_check is not None and is_unpublished and not any(one.is_bad for one in results):
        paths_by_role = {file.role: path for file, path in status.paths.items()}
        try:
            content_check(name, paths_by_role)
        except WeightsInvalid as error:
            results.append(FileCheck(paths_by_role.get("weights", local_models.folder), "wrong", str(error)))
    for one in results:
        if one.path.is_file():
            local_models.hash_cache.record_verdict(one.path, one.detail if one.is_bad else None)
    return results


def _has_no_published_hash(file: File) -> bool:
    return file.sha256 is None and not isinstance(file.source, Wheel | Bundled)


def check_file(
    local_models: LocalModels, file: File, path: Path, on_bytes: OnBytes | None = None
) -> FileCheck:
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
        return FileCheck(path, "wrong", f"has {size} bytes instead of {file.bytes}")
    if not isinstance(file.source, Wheel):  # packages use other suffixes for other formats
        suffix = PurePosixPath(file.path).suffix
        found = problem(path, suffix) or checksum_problem(path, suffix) or pickle_problem(path, suffix)
        if found:
            return FileCheck(path, "wrong", found)
    sha256 = local_models.hash_cache.hash_file(path, on_bytes)
    if not file.matches_sha256(sha256):
        return FileCheck(path, "wrong", f"has the SHA-256 {sha256} instead of {file.sha256}", sha256)
    return _compare_with_record(local_models, file, path, sha256)


def _compare_with_record(local_models: LocalModels, file: File, path: Path, sha256: str) -> FileCheck:
    """Compare a file's hash with its package's or its download's, if the registry has none."""
    if file.sha256 is not None:
        return FileCheck(path, "ok", "SHA-256 as recorded", sha256)
    origin = local_models.hash_cache.origin(path)
    expected, reference = (
        (_sha256_in_package(file.source.distribution, file.path), "in its package")
        if isinstance(file.source, Wheel)
        else (origin.sha256 if origin else None, "when it was pulled")
    )
    if expected is None:
        return FileCheck(path, "unknown", "no SHA-256 is recorded to compare with", sha256)
    if expected != sha256:
        return FileCheck(path, "wrong", f"has the SHA-256 {sha256}; {reference} it was {expected}", sha256)
    return FileCheck(path, "ok", f"SHA-256 as {reference}", sha256)


def _sha256_in_package(name: str, path: str) -> str | None:
    """Return the SHA-256 from a package's own file list; None if there is none."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return None
    for entry in files:
        if entry.as_posix() == path and entry.hash is not None and entry.hash.mode == "sha256":
            return base64.urlsafe_b64decode(entry.hash.value + "=").hex()
    return None
