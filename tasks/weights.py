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
from musetalk_core.weights.layout import Layout
from musetalk_core.weights.ledger import Origin, sha256_of
from musetalk_core.weights.manifest import models
from musetalk_core.weights.pins import PinnedModel
from musetalk_core.weights.records import File, Model
from tasks.errors import NotOffered, PullFailed
from tasks.partial import Part, disk_errors
from tasks.placing import Watch, alone, place, unfit
from tasks.settings import get_settings, torch_hub_folder, whisper_folder

if TYPE_CHECKING:
    from tasks.offers import Offered

_GB = 1e9


def layout() -> Layout:
    """Return the installed models, in the folders of the settings."""
    settings = get_settings()
    shared = torch_hub_folder(), whisper_folder()
    return Layout(settings.models_folder, settings.home / "weights.json", shared)


def pin(*names: str) -> tuple[PinnedModel, ...]:
    """
    Pin the current files of models. A job does this once per model: see `docs/adr/0021`.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `LocalModels.pin`.
    """
    return layout().pin(*names)


def pin_known(*names: str) -> tuple[PinnedModel, ...]:
    """Pin the current files of models as `pin` does; models that this machine lacks get only their name."""
    here, found = layout(), list[PinnedModel]()
    for name in names:
        try:
            found += here.pin(name)
        except RenderError:  # the cached output was made on a worker that has the model
            found.append(PinnedModel(name))
    return tuple(found)


def pull(names: Iterable[str], watch: Watch) -> list[Path]:
    """
    Download the missing files of models, and of the models that they need.

    Args:
        names:    names of models and groups.
        listener: receives the progress of each file.

    Returns:
        Paths of the files that this call installed, without those that were installed before.

    Raises:
        InputError: there is no model or group of a name.
        PullFailed: a source does not respond or refuses a file; the files of other sources were installed.
        WeightsInvalid: a file is not the expected one; it was removed.
        DiskFull: the disk has too little space for all files; nothing was downloaded.
    """
    here = layout()
    plan, refused = _planned(models(names), here)
    _require_room(here.folder, sum(offered.missing(here.target(offered.file)) for offered in plan))
    came = [here.target(offered.file) for offered in plan if _pulled(here, offered, watch)]
    if refused:
        raise PullFailed("\n".join(refused))
    return came


def _planned(wanted: Iterable[Model], here: Layout) -> tuple[list["Offered"], list[str]]:
    """Look up the missing files at their sources; return the files to download, and errors per model."""
    lacking = [model for model in wanted if here.look(model.name).missing]
    if not lacking:
        return [], []
    from tasks.offers import Sources  # imports huggingface_hub, which is slow

    sources, plan, refused = Sources(get_settings()), list["Offered"](), list[str]()
    for model in lacking:
        try:
            plan += sources.offered(model, here)
        except NotOffered as error:
            refused.append(f"{model.name}: {error}")
    return plan, refused


def _require_room(folder: Path, missing: int) -> None:
    if not missing:
        return
    there = folder
    while not there.exists():
        there = there.parent
    free, margin = shutil.disk_usage(there).free, get_settings().store.min_free_bytes
    if free < missing + margin:
        raise DiskFull(
            f"The download has {missing / _GB:.1f} GB and {margin / _GB:.1f} GB must stay free, but {there}"
            f" has {free / _GB:.1f} GB. Free some space, or set MUSETALK_WEIGHTS__FOLDER to another disk.",
            missing=missing,
            free=free,
        )


def _pulled(here: Layout, offered: "Offered", watch: Watch) -> bool:
    """Download and install a file; return False if another process installed it meanwhile."""
    file, target = offered.file, here.target(offered.file)
    watch.begin(file.path, offered.size)
    with alone(here, file) as there:
        if there is None:
            here.ledger.came(target, Origin(offered.name, _fetched(offered, target, watch)))
    watch.end(file.path, "pulled" if there is None else "was pulled by another process")
    return there is None


def _fetched(offered: "Offered", target: Path, watch: Watch) -> str:
    """Download, verify and install a file; return its SHA-256."""
    draft = Part.path_beside(target, offered.version)
    for stale in set(target.parent.glob(f"{target.name}.*.part")) - {draft}:
        stale.unlink(missing_ok=True)
    with Part(draft) as part:
        watch.advance(part.size)
        offered.fetch(part, watch.advance)
        sha256 = part.sha256()
    fault = unfit(offered.file, draft, sha256, offered.sha256)
    if fault:
        draft.unlink()
        raise WeightsInvalid(f"{offered.name} {fault}; the download was removed.", file=offered.file.path)
    place(draft, target)
    return sha256


def take(names: Iterable[str], folder: Path, watch: Watch) -> list[Path]:
    """
    Install the missing files of models from a local folder: by hard link where possible, else by copying.

    Args:
        names:    names of models and groups.
        folder:   a folder with the layout of the original MuseTalk's `models/`, or with the files side by
            side as far as their names are unique.
        listener: receives the progress of each file.

    Returns:
        Paths of the files that this call installed.

    Raises:
        InputError: there is no model or group of a name.
        WeightsInvalid: a file is not the expected one; it was not installed.
        PullFailed: the folder lacks files; the files that it has were installed.
    """
    wanted, here = models(names), layout()
    unique = _unique_names(wanted)
    came: list[Path] = []
    lacking: list[str] = []
    for model in wanted:
        if not here.look(model.name).missing:
            continue
        for file, source in _best(model, here, folder, unique).items():
            if source is None:
                lacking.append(file.path)
            elif _taken(here, file, source, watch):
                came.append(here.target(file))
    if lacking:
        raise PullFailed(f"{folder} has no {', '.join(lacking)}; the files that it has were installed.")
    return came


def _unique_names(wanted: Iterable[Model]) -> set[str]:
    """Return the file names that are unique among these models."""
    paths = {file.path: file.name for model in wanted for files in model.choices for file in files}
    names = list(paths.values())
    return {name for name in names if names.count(name) == 1}


def _best(model: Model, here: Layout, folder: Path, unique: set[str]) -> dict[File, Path | None]:
    """Choose a set of files that can be completed, else the most complete; map missing files to sources."""

    def source(file: File) -> Path | None:
        places = [folder / path for path in (file.path, *file.also)]
        places += [folder / file.name] if file.name in unique else []
        return next((place for place in places if place.is_file()), None)

    sets = [{file: source(file) for file in files if here.where(file) is None} for files in model.choices]
    return min(sets, key=lambda found: (None in found.values(), -sum(map(bool, found.values()))))


def _taken(here: Layout, file: File, source: Path, watch: Watch) -> bool:
    target = here.target(file)
    watch.begin(file.path, source.stat().st_size)
    with alone(here, file) as there:
        if there is None:
            draft = target.with_name(f"{target.name}.{uuid4().hex[:8]}.part")
            try:
                _link_or_copy(source, draft)
                sha256 = sha256_of(draft, watch.advance)
                fault = unfit(file, draft, sha256)
                if fault:
                    raise WeightsInvalid(f"{source} {fault}; it was not installed.", file=file.path)
                place(draft, target)
            finally:
                draft.unlink(missing_ok=True)
            here.ledger.came(target, Origin(str(source), sha256))
    watch.end(file.path, "taken" if there is None else "was there already")
    return there is None


def _link_or_copy(source: Path, draft: Path) -> None:
    try:
        os.link(source.resolve(), draft)
    except OSError:  # another disk, or a file system without hard links
        with disk_errors():
            shutil.copyfile(source, draft)
