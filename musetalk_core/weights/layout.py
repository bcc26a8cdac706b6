"""Where the files of a model are: a folder laid out like the original program's `models/`, or a package."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, Literal

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.weights.kinds import is_pointer
from musetalk_core.weights.ledger import Ledger
from musetalk_core.weights.manifest import MODELS, mend, model
from musetalk_core.weights.records import File, Model, Shipped, Wheel

State = Literal["installed", "partial", "missing"]

_SHIPPED: Final = Path(__file__).resolve().parents[1] / "models"


@dataclass(frozen=True, slots=True)
class Look:
    """
    What there is of a model.

    Attributes:
        model:   which.
        found:   file -> path, of the most complete set.
        missing: what that set lacks.
    """

    model: Model
    found: dict[File, Path]
    missing: tuple[File, ...]

    @property
    def state(self) -> State:
        """Return whether it can be used."""
        if not self.missing:
            return "installed"
        return "partial" if self.found else "missing"


class Layout:
    """The models of this machine. Looks at the disk at every call; keeps nothing but settings."""

    def __init__(self, folder: Path, spare: Path, shared: tuple[Path, ...] = ()) -> None:
        """
        Describe it; nothing is read yet.

        Args:
            folder: of the models; need not exist, need not be writable.
            spare:  file for what is remembered of them when the folder cannot be written.
            shared: folders of others, with files under their own names.
        """
        self.folder, self._shared = folder, shared
        self.ledger = Ledger(folder, spare)

    def where(self, file: File) -> Path | None:
        """Return where a file is; None when it is not there, or only a Git LFS pointer is."""
        return next((path for path in self._places(file) if path.is_file() and not is_pointer(path)), None)

    def target(self, file: File) -> Path:
        """Return where a file belongs."""
        return self._places(file)[0]

    def _places(self, file: File) -> list[Path]:
        match file.source:
            case Shipped():
                return [_SHIPPED / file.path]
            case Wheel(name):
                return [_packaged(name, file.path)]
            case _:
                places = [self.folder / path for path in (file.path, *file.also)]
                return places + [folder / file.name for folder in self._shared if file.shared]

    def look(self, name: str) -> Look:
        """
        See what there is of a model, without reading its files.

        Raises:
            InputError: there is no model of that name.
        """
        wanted = model(name)
        looks = [self._look(wanted, files) for files in wanted.choices]
        whole = (look for look in looks if not look.missing)
        return next(whole, max(looks, key=lambda look: len(look.found)))

    def _look(self, wanted: Model, files: tuple[File, ...]) -> Look:
        found = {file: path for file in files if (path := self.where(file))}
        return Look(wanted, found, tuple(file for file in files if file not in found))

    def find(self, name: str) -> dict[str, Path]:
        """
        Find a model's own files.

        Returns:
            Role -> path: `weights`, and `config` and others where the model has them.

        Raises:
            ModelNotInstalled: one is missing; the message names it and the command that installs it.
            InputError: there is no model of that name.
        """
        look = self.look(name)
        if look.missing:
            raise self._not_installed(look)
        return {file.role: path for file, path in look.found.items()}

    def _not_installed(self, look: Look) -> ModelNotInstalled:
        place = self.target(look.missing[0])
        state = "is only a Git LFS pointer" if place.is_file() else "is missing"
        return ModelNotInstalled(
            f"The model {look.model.name} is not installed: {place} {state}. Run: {mend(look.model.name)}",
            model=look.model.name,
            file=look.missing[0].path,
        )

    def installed(self) -> tuple[str, ...]:
        """Return the names of the models that have all their own files."""
        return tuple(name for name in MODELS if not self.look(name).missing)

    def digest(self, *names: str) -> str:
        """
        Return a hash of what models are made of, for cache keys. Large files are read once in their life.

        Args:
            names: of models; the order does not matter.

        Returns:
            64 hexadecimal digits; the same for the same contents wherever they lie.

        Raises:
            ModelNotInstalled, InputError: as `find`.
        """
        parts = [
            f"{name} {role} {self.ledger.sha256(path)}"
            for name in sorted(set(names))
            for role, path in sorted(self.find(name).items())
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _packaged(name: str, path: str) -> Path:
    """Return where an installed package has a file; a path that is no file when it is not installed."""
    try:
        return Path(str(distribution(name).locate_file(path)))
    except PackageNotFoundError:
        return Path(name) / path
