"""Installed models: paths, status and hashes of files in the models folder or in Python packages."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, Literal, TypeVar

from musetalk_core.errors import ModelChanged, ModelNotInstalled, WeightsInvalid
from musetalk_core.weights.kinds import is_pointer
from musetalk_core.weights.ledger import Ledger, stamp
from musetalk_core.weights.manifest import MODELS, mend, model
from musetalk_core.weights.pins import PinnedFile, PinnedModel, digest_of
from musetalk_core.weights.records import File, Model, Shipped, Wheel

T = TypeVar("T")

State = Literal["installed", "partial", "missing"]

_SHIPPED: Final = Path(__file__).resolve().parents[1] / "models"


@dataclass(frozen=True, slots=True)
class Look:
    """
    The installed files of a model.

    Attributes:
        model:   the model.
        paths:   file -> path, of the most complete set of files.
        missing: files that this set lacks.
    """

    model: Model
    found: dict[File, Path]
    missing: tuple[File, ...]

    @property
    def state(self) -> State:
        """Return whether the model is complete, partial or missing."""
        if not self.missing:
            return "installed"
        return "partial" if self.found else "missing"


class Layout:
    """The models installed on this machine. Every call reads the disk; only the configuration is stored."""

    def __init__(self, folder: Path, spare: Path, shared: tuple[Path, ...] = ()) -> None:
        """
        Store the configuration; nothing is read yet.

        Args:
            folder:         models folder; need not exist or be writable.
            fallback:       file for cached hashes if the folder is not writable.
            shared_folders: folders of other programs that keep the same files under the same names.
        """
        self.folder, self._shared = folder, shared
        self.ledger = Ledger(folder, spare)

    def where(self, file: File) -> Path | None:
        """Return the path of a file; None if it is missing or only a Git LFS pointer."""
        return next((path for path in self._places(file) if path.is_file() and not is_pointer(path)), None)

    def target(self, file: File) -> Path:
        """Return the path where a file should be installed."""
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
        Return which files of a model are installed, without reading them.

        Raises:
            InputError: the model is unknown.
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
        Return the paths of a model's files.

        Returns:
            Role -> path: `weights`, and `config` and others if the model has them.

        Raises:
            ModelNotInstalled: a file is missing; the message names it and the command that installs it.
            InputError: the model is unknown.
        """
        return {file.role: path for file, path in self._whole(name).found.items()}

    def _whole(self, name: str) -> Look:
        look = self.look(name)
        if look.missing:
            raise self._not_installed(look)
        return look

    def _not_installed(self, look: Look) -> ModelNotInstalled:
        place = self.target(look.missing[0])
        state = "is only a Git LFS pointer" if place.is_file() else "is missing"
        return ModelNotInstalled(
            f"The model {look.model.name} is not installed: {place} {state}. Run: {mend(look.model.name)}",
            model=look.model.name,
            file=look.missing[0].path,
        )

    def installed(self) -> tuple[str, ...]:
        """Return the names of the models whose files are all installed."""
        return tuple(name for name in MODELS if not self.look(name).missing)

    def digest(self, *names: str) -> str:
        """
        Return a hash of the content of models, for cache keys.

        Large files are only hashed again if they change.

        Args:
            names: of models; the order does not matter.

        Returns:
            64 hexadecimal digits; the same for the same content in any folder.

        Raises:
            ModelNotInstalled, InputError: as `find`.
            WeightsInvalid: as `pin`.
        """
        return digest_of(self.pin(*names))

    def pin(self, *names: str) -> tuple[PinnedModel, ...]:
        """
        Return the current content of models. Unchanged files are not hashed again.

        Args:
            names: of models.

        Raises:
            ModelNotInstalled, InputError: as `find`.
            WeightsInvalid: a bundled or packaged file differs from the published one.
        """
        return tuple(self._pin(name) for name in names)

    def _pin(self, name: str) -> PinnedModel:
        files = self._whole(name).found
        return PinnedModel(
            name,
            tuple(PinnedFile(file.role, file.path, self._hash(file, path)) for file, path in files.items()),
        )

    def _hash(self, file: File, path: Path) -> str:
        found = self.ledger.sha256(path)
        if isinstance(file.source, Shipped | Wheel) and not file.is_known_as(found):
            raise WeightsInvalid(
                f"{path} has the SHA-256 {found} instead of {file.sha256}: it is damaged or a different file."
                " Reinstall its package.",
                file=file.path,
            )
        return found

    def load(self, pinned: PinnedModel, load: Callable[[dict[str, Path]], T]) -> T:
        """
        Load a model and verify that the pinned content was loaded.

        Args:
            pinned: the content, from `pin`.
            load:   takes role -> path. It must read the files completely, not memory-map them.

        Raises:
            ModelChanged: a file was replaced since the model was pinned, or while it was loaded.
            ModelNotInstalled, WeightsInvalid: as `pin`. Errors of `load` are raised unchanged, unless a file
                was replaced meanwhile.
        """
        before = self._stamps(pinned)
        if self._pin(pinned.name) != pinned:
            raise _changed(pinned, "after this job started")
        try:
            loaded = load(self.find(pinned.name))
        except Exception as error:
            if self._stamps(pinned) != before:
                raise _changed(pinned, "while they were loaded") from error
            raise
        if self._stamps(pinned) != before:
            raise _changed(pinned, "while they were loaded")
        return loaded

    def _stamps(self, pinned: PinnedModel) -> dict[str, dict[str, int] | None]:
        stamps = dict[str, dict[str, int] | None]()
        for path in self.look(pinned.name).found.values():
            try:
                stamps[str(path)] = stamp(path)
            except FileNotFoundError:  # removed while it is replaced
                stamps[str(path)] = None
        return stamps


def _changed(pinned: PinnedModel, when: str) -> ModelChanged:
    return ModelChanged(
        f"The files of the model {pinned.name} were replaced {when}."
        " Submit the job again to use the new ones.",
        model=pinned.name,
    )


def _packaged(name: str, path: str) -> Path:
    """Return the path of an installed package's file; a path that does not exist if it is not installed."""
    try:
        return Path(str(distribution(name).locate_file(path)))
    except PackageNotFoundError:
        return Path(name) / path
