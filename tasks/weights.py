"""
The models of this machine as the settings say, and how they get here: pulled, or taken from a folder.

A file appears under its name only when it is whole and checked; what an interruption leaves is a `.part`
beside it that the next pull continues.
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
    """Return where the models are, as the settings say."""
    settings = get_settings()
    shared = torch_hub_folder(), whisper_folder()
    return Layout(settings.models_folder, settings.home / "weights.json", shared)


def pin(*names: str) -> tuple[PinnedModel, ...]:
    """
    Return the content that models have now. A job does this once a model: see `docs/adr/0021`.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `Layout.pin`.
    """
    return layout().pin(*names)


def pin_known(*names: str) -> tuple[PinnedModel, ...]:
    """Return the content of models as `pin`, and of those that this machine lacks the name alone."""
    here, found = layout(), list[PinnedModel]()
    for name in names:
        try:
            found += here.pin(name)
        except RenderError:  # what it made came from a worker that has it
            found.append(PinnedModel(name))
    return tuple(found)


def pull(names: Iterable[str], watch: Watch) -> list[Path]:
    """
    Get what models lack, and what they need.

    Args:
        names: of models and groups.
        watch: told of each file.

    Returns:
        The files that came, in their places. Nothing for what was there already.

    Raises:
        InputError: there is no model of a name.
        PullFailed: a source does not answer, or refuses a file; what the others have was got first.
        WeightsInvalid: a file is not what it should be; it was removed.
        DiskFull: there is no room for all of it; nothing was fetched.
    """
    here = layout()
    plan, refused = _planned(models(names), here)
    _require_room(here.folder, sum(offered.missing(here.target(offered.file)) for offered in plan))
    came = [here.target(offered.file) for offered in plan if _pulled(here, offered, watch)]
    if refused:
        raise PullFailed("\n".join(refused))
    return came


def _planned(wanted: Iterable[Model], here: Layout) -> tuple[list["Offered"], list[str]]:
    """Ask the sources for what is missing; return what to get, and why something cannot be got."""
    lacking = [model for model in wanted if here.look(model.name).missing]
    if not lacking:
        return [], []
    from tasks.offers import Sources  # loads the hub's library

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
            f"{missing / _GB:.1f} GB are to come and {margin / _GB:.1f} GB shall stay free, but {there} has"
            f" {free / _GB:.1f} GB. Make room, or set MUSETALK_WEIGHTS__FOLDER to another disk.",
            missing=missing,
            free=free,
        )


def _pulled(here: Layout, offered: "Offered", watch: Watch) -> bool:
    """Bring a file to its place; False when another process did."""
    file, target = offered.file, here.target(offered.file)
    watch.begin(file.path, offered.size)
    with alone(here, file) as there:
        if there is None:
            here.ledger.came(target, Origin(offered.name, _fetched(offered, target, watch)))
    watch.end(file.path, "pulled" if there is None else "was pulled by another process")
    return there is None


def _fetched(offered: "Offered", target: Path, watch: Watch) -> str:
    """Fetch, check, and give the file its name; return its SHA-256."""
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
        raise WeightsInvalid(f"{offered.name} {fault}; what came was removed.", file=offered.file.path)
    place(draft, target)
    return sha256


def take(names: Iterable[str], folder: Path, watch: Watch) -> list[Path]:
    """
    Take what models lack from a folder of this machine: linked where that is possible, else copied.

    Args:
        names:  of models and groups.
        folder: laid out like the original's `models/`; or with the files under their own names, as far as
                these differ.
        watch:  told of each file.

    Returns:
        The files that came, in their places.

    Raises:
        InputError: there is no model of a name.
        WeightsInvalid: a file is not what it should be; it was not taken.
        PullFailed: the folder lacks files; what it has was taken.
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
        raise PullFailed(f"{folder} has no {', '.join(lacking)}; what it has was taken.")
    return came


def _unique_names(wanted: Iterable[Model]) -> set[str]:
    """Return the names that only one file of these models has."""
    paths = {file.path: file.name for model in wanted for files in model.choices for file in files}
    names = list(paths.values())
    return {name for name in names if names.count(name) == 1}


def _best(model: Model, here: Layout, folder: Path, unique: set[str]) -> dict[File, Path | None]:
    """Choose a set that can be completed, else the fullest; return what is not here, and where it is."""

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
                    raise WeightsInvalid(f"{source} {fault}; it was not taken.", file=file.path)
                place(draft, target)
            finally:
                draft.unlink(missing_ok=True)
            here.ledger.came(target, Origin(str(source), sha256))
    watch.end(file.path, "taken" if there is None else "was there already")
    return there is None


def _link_or_copy(source: Path, draft: Path) -> None:
    try:
        os.link(source.resolve(), draft)
    except OSError:  # another disk, or a file system without links
        with disk_errors():
            shutil.copyfile(source, draft)
