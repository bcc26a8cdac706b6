"""The exact content of a model. A job pins it once and uses it for loading, cache keys and lineage."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """
    One file of a pinned model.

    Attributes:
        role:   its role in the table of models.
        path:   relative path in the original's layout.
        sha256: 64 hexadecimal digits.
    """

    role: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """
    A model by the content of its files; see `Layout.pin`.

    Attributes:
        name:  in the table of models.
        files: all files of the model; empty if it is not on this machine.
    """

    name: str
    files: tuple[PinnedFile, ...] = ()

    @property
    def digest(self) -> str | None:
        """SHA-256 over roles and hashes of the files, as `digest_of`; None where the content is unknown."""
        return digest_of([self]) if self.files else None


def digest_of(models: Iterable[PinnedModel]) -> str:
    """
    Hash the contents of models, for cache keys.

    Args:
        models: the order does not matter.

    Returns:
        64 hexadecimal digits; the same for the same contents wherever the files are.
    """
    lines = [
        f"{model.name} {file.role} {file.sha256}"
        for model in sorted(set(models), key=lambda model: model.name)
        for file in sorted(model.files, key=lambda file: file.role)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
