"""
Installation of models: `musetalk weights pull` downloads them, or copies them from a folder.

A file appears under its name only when it is complete and verified. An interruption leaves a `.part` file
beside it, which the next pull resumes.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from musetalk_core.errors import DiskFull, RenderError, WeightsInvalid
from musetalk_core.installation import command
from musetalk_core.model_registry.hash_cache import DownloadOrigin, sha256_of
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.model_registry.registry import resolve_models
from musetalk_core.model_registry.schema import File, Model
from tasks.errors import LicenceNotAccepted, NotAvailable, PullFailed
from tasks.models.atomic_install import ProgressListener, install_atomically, install_lock, validation_problem
from tasks.settings import get_settings, torch_hub_folder, whisper_folder
from tasks.storage.resumable_file import PartialFile, translate_disk_errors

if TYPE_CHECKING:
    from tasks.models.remote_files import RemoteFile

_GB = 1e9


def open_local_models() -> LocalModels:
    """Return the installed models, in the folders of the settings."""
    settings = get_settings()
    shared = torch_hub_folder(), whisper_folder()
    return LocalModels(settings.models_folder, settings.home / "weights.json", shared)


def pin(*names: str) -> tuple[PinnedModel, ...]:
    """
    Pin the current files of models. A job does this once per model: see `docs/adr/0021`.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `LocalModels.pin`.
    """
    return open_local_models().pin(*names)


def pin_where_installed(*names: str) -> tuple[PinnedModel, ...]:
    """Pin the current files of models as `pin` does; models that this machine lacks get only their name."""
    installed_models, pinned = open_local_models(), list[PinnedModel]()
    for name in names:
        try:
            pinned += installed_models.pin(name)
        except RenderError:  # the cached output was made on a worker that has the model
            pinned.append(PinnedModel(name))
    return tuple(pinned)


def require_accepted_licences(names: Iterable[str]) -> None:
    """
    Refuse models whose licence forbids commercial use, unless they are installed.

    Args:
        names: names of models and groups; models that they need are checked as well.

    Raises:
        InputError: there is no model or group of a name.
        LicenceNotAccepted: a licence has to be accepted first.
    """
    installed_models = open_local_models()
    for model in resolve_models(names):
        if model.non_commercial and installed_models.status(model.name).missing:
            raise LicenceNotAccepted(
                f"{model.title}: {model.licence} ({model.homepage}). To accept this licence, run:"
                f" {command(f'weights pull {model.name} --accept-licence')}",
                model=model.name,
                licence=model.licence,
            )


def pull(names: Iterable[str], listener: ProgressListener, *, accept_licences: bool = False) -> list[Path]:
    """
    Download the missing files of models, and of the models that they need.

    Args:
        names:           names of models and groups.
        listener:        receives the progress of each file.
        accept_licences: whether non-commercial licences are accepted.

    Returns:
        Paths of the files that this call installed, without those that were installed before.

    Raises:
        InputError: there is no model or group of a name.
        LicenceNotAccepted: see `require_accepted_licences`; nothing was downloaded.
        PullFailed: a source does not respond or refuses a file; the files of other sources were installed.
        WeightsInvalid: a file is not the expected one; it was removed.
        DiskFull: the disk has too little space for all files; nothing was downloaded.
    """
    names = list(names)
    if not accept_licences:
        require_accepted_licences(names)
    installed_models = open_local_models()
    plan, refused = _plan_downloads(resolve_models(names), installed_models)
    _require_room(
        installed_models.folder,
        sum(offered.missing_bytes(installed_models.target_path(offered.file)) for offered in plan),
    )
    installed = [
        installed_models.target_path(offered.file)
        for offered in plan
        if _download(installed_models, offered, listener)
    ]
    if refused:
        raise PullFailed("\n".join(refused))
    return installed


def _plan_downloads(
    requested: Iterable[Model], installed_models: LocalModels
) -> tuple[list["RemoteFile"], list[str]]:
    """Look up the missing files at their sources; return the files to download, and errors per model."""
    incomplete = [model for model in requested if installed_models.status(model.name).missing]
    if not incomplete:
        return [], []
    from tasks.models.remote_files import DownloadSources  # imports huggingface_hub, which is slow

    sources, plan, refused = DownloadSources(get_settings()), list["RemoteFile"](), list[str]()
    for model in incomplete:
        try:
            plan += sources.find_missing_files(model, installed_models)
        except NotAvailable as error:
            refused.append(f"{model.name}: {error}")
    return plan, refused


def _require_room(folder: Path, missing: int) -> None:
    if not missing:
        return
    existing_parent = folder
    while not existing_parent.exists():
        existing_parent = existing_parent.parent
    free, margin = shutil.disk_usage(existing_parent).free, get_settings().store.min_free_bytes
    if free < missing + margin:
        raise DiskFull(
            f"The download has {missing / _GB:.1f} GB and {margin / _GB:.1f} GB must stay free,"
            f" but {existing_parent} has {free / _GB:.1f} GB. Free some space,"
            " or set MUSETALK_WEIGHTS__FOLDER to another disk.",
            missing=missing,
            free=free,
        )


def _download(installed_models: LocalModels, remote_file: "RemoteFile", listener: ProgressListener) -> bool:
    """Download and install a file; return False if another process installed it meanwhile."""
    file, target = remote_file.file, installed_models.target_path(remote_file.file)
    listener.begin(file.path, remote_file.size)
    with install_lock(installed_models, file) as installed_path:
        if installed_path is None:
            installed_models.hash_cache.record_download(
                target, DownloadOrigin(remote_file.name, _download_and_install(remote_file, target, listener))
            )
    listener.end(file.path, "pulled" if installed_path is None else "was pulled by another process")
    return installed_path is None


def _download_and_install(remote_file: "RemoteFile", target: Path, listener: ProgressListener) -> str:
    """Download, verify and install a file; return its SHA-256."""
    draft = PartialFile.path_beside(target, remote_file.version)
    for stale in set(target.parent.glob(f"{target.name}.*.part")) - {draft}:
        stale.unlink(missing_ok=True)
    with PartialFile(draft) as part:
        listener.advance(part.size)
        remote_file.fetch(part, listener.advance)
        sha256 = part.sha256()
    problem = validation_problem(remote_file.file, draft, sha256, remote_file.sha256)
    if problem:
        draft.unlink()
        raise WeightsInvalid(
            f"{remote_file.name} {problem}; the download was removed.", file=remote_file.file.path
        )
    install_atomically(draft, target)
    return sha256


def install_from_folder(
    names: Iterable[str], folder: Path, listener: ProgressListener, *, accept_licences: bool = False
) -> list[Path]:
    """
    Install the missing files of models from a local folder: by hard link where possible, else by copying.

    Args:
        names:    names of models and groups.
        folder:   a folder with the layout of the original MuseTalk's `models/`, or with the files side by
            side as far as their names are unique.
        listener: receives the progress of each file.
        accept_licences: whether non-commercial licences are accepted.

    Returns:
        Paths of the files that this call installed.

    Raises:
        InputError: there is no model or group of a name.
        LicenceNotAccepted: see `require_accepted_licences`; nothing was installed.
        WeightsInvalid: a file is not the expected one; it was not installed.
        PullFailed: the folder lacks files; the files that it has were installed.
    """
    names = list(names)
    if not accept_licences:
        require_accepted_licences(names)
    requested, installed_models = resolve_models(names), open_local_models()
    unique = _unique_names(requested)
    installed: list[Path] = []
    missing_files: list[str] = []
    for model in requested:
        if not installed_models.status(model.name).missing:
            continue
        for file, source in _choose_files(model, installed_models, folder, unique).items():
            if source is None:
                missing_files.append(file.path)
            elif _install_from_source(installed_models, file, source, listener):
                installed.append(installed_models.target_path(file))
    if missing_files:
        raise PullFailed(f"{folder} has no {', '.join(missing_files)}; the files that it has were installed.")
    return installed


def _unique_names(requested: Iterable[Model]) -> set[str]:
    """Return the file names that are unique among these models."""
    paths = {file.path: file.name for model in requested for files in model.file_sets for file in files}
    names = list(paths.values())
    return {name for name in names if names.count(name) == 1}


def _choose_files(
    model: Model, installed_models: LocalModels, folder: Path, unique_names: set[str]
) -> dict[File, Path | None]:
    """Choose a set of files that can be completed, else the most complete; map missing files to sources."""

    def source(file: File) -> Path | None:
        places = [folder / path for path in (file.path, *file.other_paths)]
        places += [folder / file.name] if file.name in unique_names else []
        return next((place for place in places if place.is_file()), None)

    sets = [
        {file: source(file) for file in files if installed_models.path_of(file) is None}
        for files in model.file_sets
    ]
    return min(sets, key=lambda found: (None in found.values(), -sum(map(bool, found.values()))))


def _install_from_source(
    installed_models: LocalModels, file: File, source: Path, listener: ProgressListener
) -> bool:
    target = installed_models.target_path(file)
    listener.begin(file.path, source.stat().st_size)
    with install_lock(installed_models, file) as installed_path:
        if installed_path is None:
            draft = target.with_name(f"{target.name}.{uuid4().hex[:8]}.part")
            try:
                _link_or_copy(source, draft)
                sha256 = sha256_of(draft, listener.advance)
                problem = validation_problem(file, draft, sha256)
                if problem:
                    raise WeightsInvalid(f"{source} {problem}; it was not installed.", file=file.path)
                install_atomically(draft, target)
            finally:
                draft.unlink(missing_ok=True)
            installed_models.hash_cache.record_download(target, DownloadOrigin(str(source), sha256))
    listener.end(file.path, "taken" if installed_path is None else "was there already")
    return installed_path is None


def _link_or_copy(source: Path, draft: Path) -> None:
    try:
        os.link(source.resolve(), draft)
    except OSError:  # another disk, or a file system without hard links
        with translate_disk_errors():
            shutil.copyfile(source, draft)
