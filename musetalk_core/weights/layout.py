"""Where the files of a model are: a folder laid out like the original program's `models/`, or a package."""

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
            WeightsInvalid: as `pin`.
        """
        return digest_of(self.pin(*names))

    def pin(self, *names: str) -> tuple[PinnedModel, ...]:
        """
        Return the current content of models. Files that did not change are not hashed again.

        Args:
            names: of models.

        Raises:
            ModelNotInstalled, InputError: as `find`.
            WeightsInvalid: a file that came with this program or a package is not the published one.
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
                f"{path} has the SHA-256 {found} instead of {file.sha256}: it is damaged or another file."
                " Reinstall its package.",
                file=file.path,
            )
        return found

    def load(self, pinned: PinnedModel, load: Callable[[dict[str, Path]], T]) -> T:
        """
        Load a model and verify that the pinned content was loaded.

        Args:
            pinned: the content, from `pin`.
            load:   takes role -> path. It must read the files whole, not map them.

        Raises:
            ModelChanged: a file was replaced since the model was pinned, or while it was loaded.
            ModelNotInstalled, WeightsInvalid: as `pin`; what `load` raises reaches the caller, unless a file
                was replaced meanwhile.
        """
        before = self._stamps(pinned)
        if self._pin(pinned.name) != pinned:
            raise _changed(pinned, "after this job had begun")
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
            except FileNotFoundError:  # being replaced
                stamps[str(path)] = None
        return stamps


def _changed(pinned: PinnedModel, when: str) -> ModelChanged:
    return ModelChanged(
        f"The files of the model {pinned.name} were replaced {when}."
        " Submit the job again to use the new ones.",
        model=pinned.name,
    )


def _packaged(name: str, path: str) -> Path:
    """Return where an installed package has a file; a path that is no file when it is not installed."""
    try:
        return Path(str(distribution(name).locate_file(path)))
    except PackageNotFoundError:
        return Path(name) / path
