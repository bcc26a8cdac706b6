"""Pinned models: the exact content of a model. A job uses one pin for loading, cache keys and lineage."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """
    One file of a pinned model.

    Attributes:
        role:   role in the model registry.
        path:   relative path in the original program's layout.
        sha256: 64 hexadecimal digits.
    """

    role: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """
    A model by the content of its files; see `LocalModels.pin`.

    Attributes:
        name:  name in the model registry.
        files: all files of the model; empty if it is not on this machine.
    """

    name: str
    files: tuple[PinnedFile, ...] = ()

    @property
    def digest(self) -> str | None:
        """Return the SHA-256 over the files' roles and hashes, as `digest_of`; None without files."""
        return digest_of([self]) if self.files else None


def digest_of(models: Iterable[PinnedModel]) -> str:
    """
    Hash the contents of models, for cache keys.

    Args:
        models: the order does not matter.

    Returns:
        64 hexadecimal digits; the same for the same content wherever the files are.
    """
    lines = [
        f"{model.name} {file.role} {file.sha256}"
        for model in sorted(set(models), key=lambda model: model.name)
        for file in sorted(model.files, key=lambda file: file.role)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
