"""
The `musetalk weights` commands: list, locate, verify and download model files.

Progress is shown as a bar on a terminal and as lines elsewhere.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.errors import EXIT_FAILED, program, read_settings, user_errors
from deployments.cli.lazy_group import CommandGroup
from deployments.cli.options import JsonOption, print_json
from deployments.console import error_console, output_console
from musetalk_core.installation import setup_command

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from musetalk_core.model_registry.local_models import LocalModels
    from musetalk_core.model_registry.schema import Model
    from tasks.models.atomic_install import ProgressListener


app = typer.Typer(cls=CommandGroup, help="Models on this computer: list, pull, verify.", no_args_is_help=True)
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Models or groups, as `list` shows them.")
]
_BYTES_PER_MB = 1e6
_LINE_INTERVAL_PERCENT = 10
"""Percent of a file between two lines of a plain log."""
_MIN_PROGRESS_BYTES = 50_000_000
"""Bytes; smaller files are reported only when complete."""


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List all known models with their state, size, source and licence, and the transcription engines."""
    from tasks.catalog.installed_models import list_transcription_engines

    with user_errors():
        local_models = _local_models()
        rows = [_table_row(local_models, name) for name in _known_model_names()]
    if as_json:
        print_json(rows)
        return
    header = {"name": "NAME", "state": "STATE", "size": "SIZE", "source": "SOURCE", "licence": "LICENCE"}
    table_rows = [header, *({**row, "size": _format_size(row["bytes"])} for row in rows)]
    width = {key: max(len(str(row[key])) for row in table_rows) for key in header}
    for row in table_rows:
        line = "  ".join(str(row[key]).ljust(width[key]) for key in header)
        output_console().print(line.rstrip(), markup=False)
    for row in rows:
        if row["problem"]:
            output_console().print(f"{row['name']}: {row['problem']}", markup=False)
    for engine in list_transcription_engines():
        output_console().print(f"Transcription with {engine.summary}", markup=False)
    output_console().print(
        f"\nFolder: {local_models.folder}. Groups: {', '.join(_group_labels())}.", markup=False
    )


@app.command()
def path(
    name: Annotated[str | None, typer.Argument(help="Model name; default: the folder of all models.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the folder of the models, or the paths of one model's files."""
    with user_errors():
        local_models = _local_models()
        paths = [local_models.folder] if name is None else list(local_models.find(name).values())
        if as_json:
            print_json({"folder": local_models.folder, "name": name, "paths": paths})
            return
        for line in paths:
            typer.echo(str(line))


@app.command()
def verify(names: NamesArgument = None, as_json: JsonOption = False) -> None:
    """
    Read every file and compare it with its known checksum, format and network.

    The exit status is 1 if a file is wrong or missing.
    """
    from musetalk_core.model_registry.registry import resolve_models
    from musetalk_core.model_registry.verify import verify_model as verified
    from tasks.catalog.installed_models import total_bytes
    from tasks.models.content_checks import check_content

    has_bad_files = False
    out = error_console() if as_json else output_console()
    rows: list[dict[str, Any]] = []
    with user_errors():
        local_models = _local_models()
        model_names = (
            [model.name for model in resolve_models(names)] if names else _installed_model_names(local_models)
        )
        for name in model_names:
            with show_downloads(out) as progress:
                progress.begin(name, total_bytes(local_models.status(name)))
                file_checks = verified(local_models, name, check_content, on_bytes=progress.advance)
            for file_check in file_checks:
                rows.append({"name": name, **asdict(file_check)})
                sha256 = f" (SHA-256 {file_check.sha256})" if file_check.verdict == "unknown" else ""
                out.print(
                    f"{file_check.verdict.upper():<8}{name}: {file_check.path} {file_check.detail}{sha256}",
                    markup=False,
                )
            has_bad_files = has_bad_files or any(file_check.is_bad for file_check in file_checks)
    if as_json:
        print_json(rows)
    if has_bad_files:
        out.print(f"Delete the wrong files, then run: {program()} weights pull NAME", markup=False)
        raise typer.Exit(EXIT_FAILED)


@app.command()
def pull(
    names: NamesArgument = None,
    starter: Annotated[
        bool, typer.Option("--starter", help="Verify the models that are part of the installation.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Copy the files from this folder instead of downloading them.", show_default=False
        ),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept licences that forbid commercial use.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Download models and the models they require. Existing files are kept, interrupted downloads resumed.

    A model whose licence forbids commercial use is downloaded only with --accept-licence.
    """
    if not names and not starter:
        raise typer.BadParameter("name at least one model or group, for example musetalk, or use --starter")
    with user_errors():
        read_settings()
        out = error_console() if as_json else output_console()
        if starter:
            _verify_starter_models(out)
        report = pull_models(names, folder, out, accept_licences=accept_licence) if names else {}
        if as_json:
            print_json(report)


def pull_models(
    names: list[str], folder: Path | None, out: "Console", *, accept_licences: bool = False
) -> dict[str, Any]:
    """
    Download or copy models and those that they require, and report what was added.

    Args:
        names:  models or groups.
        folder: copy the files from this folder; None: download them.
        out:    console for progress and the result.
        accept_licences: whether licences that forbid commercial use are accepted.

    Returns:
        `added`: the new files; `models`: names of the models; `folder`: the models folder.
    """
    import logging

    from musetalk_core.model_registry.registry import resolve_models
    from tasks.models.install import install_from_folder, open_local_models, pull

    model_names = [model.name for model in resolve_models(names)]
    if folder is not None and not folder.is_dir():
        raise NotADirectoryError(20, "no such folder", str(folder))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with show_downloads(out) as progress:
        pulled_files = (
            pull(names, progress, accept_licences=accept_licences)
            if folder is None
            else install_from_folder(names, folder.absolute(), progress, accept_licences=accept_licences)
        )
    result_text = f"{len(pulled_files)} files added" if pulled_files else "No file was missing"
    models_folder = open_local_models().folder
    out.print(f"{result_text}; installed in {models_folder}: {', '.join(model_names)}.", markup=False)
    return {"added": list(pulled_files), "models": model_names, "folder": models_folder}


def _verify_starter_models(out: "Console") -> None:
    """Verify the models that are part of the installation."""
    from musetalk_core.model_registry.registry import GROUPS, MODELS
    from musetalk_core.model_registry.verify import verify_model as verified
    from tasks.errors import PullFailed

    local_models = _local_models()
    for name in GROUPS["starter"]:
        bad_files = [one for one in verified(local_models, name) if one.is_bad]
        if bad_files:
            raise PullFailed(
                f"{name}: {bad_files[0].path} {bad_files[0].detail}. It is part of a package."
                f" Run: {setup_command()}"
            )
        out.print(f"{name}: complete, installed {_source_label(MODELS[name])}.", markup=False)


def _local_models() -> "LocalModels":
    from tasks.models.install import open_local_models

    read_settings()
    return open_local_models()


def _known_model_names() -> Iterable[str]:
    from musetalk_core.model_registry.registry import MODELS

    return MODELS


def _group_labels() -> list[str]:
    from musetalk_core.model_registry.registry import GROUPS

    return [f"{name} ({', '.join(members)})" for name, members in GROUPS.items()]


def _installed_model_names(local_models: "LocalModels") -> list[str]:
    return [name for name in _known_model_names() if local_models.status(name).state != "missing"]


def _table_row(local_models: "LocalModels", name: str) -> dict[str, Any]:
    from tasks.catalog.installed_models import total_bytes

    model_state = local_models.status(name)
    model, problem = model_state.model, local_models.known_problem(model_state)
    return {
        "name": model.name,
        "title": model.title,
        "state": "damaged" if problem else model_state.state,
        "problem": problem,
        "bytes": total_bytes(model_state),
        "source": _source_label(model),
        "licence": model.licence,
        "non_commercial": model.non_commercial,
        "needs": list(model.needs),
    }


def _format_size(count: int) -> str:
    return f"{count / _BYTES_PER_MB:.0f} MB" if count >= _BYTES_PER_MB else f"{count / 1000:.0f} kB"


def _source_label(model: "Model") -> str:
    from musetalk_core.model_registry.schema import Bundled, Hub, Web, Wheel

    match model.file_sets[0][-1].source:
        case Hub(repo):
            return f"hub {repo}"
        case Web(url):
            return url.split("/")[2]
        case Wheel(name):
            return f"with the package {name}"
        case Bundled():
            return "with this project"
        case None:
            return "by hand"


@contextmanager
def show_downloads(out: "Console") -> Generator["ProgressListener"]:
    """
    Return a reporter of download progress for the duration of the block.

    Args:
        out: console; a terminal gets a progress bar, any other output gets lines.
    """
    if not out.is_terminal:
        yield PlainDownloadProgress(out)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=out, transient=True) as bars:
        yield DownloadProgressBar(bars, out)


class PlainDownloadProgress:
    """Prints a line for each complete file, and one every 10 percent of a large file."""

    def __init__(self, out: "Console") -> None:
        self._out = out
        self._file, self._size_bytes, self._done_bytes, self._reported_percent = "", 0, 0, 0

    def begin(self, file: str, size: int | None) -> None:
        """Start a file of `size` bytes; None: unknown."""
        self._file, self._size_bytes, self._done_bytes, self._reported_percent = file, size or 0, 0, 0

    def advance(self, n: int, /) -> None:
        """Add `n` bytes, and print a line at each further 10 percent."""
        self._done_bytes += n
        percent = (
            100 * self._done_bytes // self._size_bytes // _LINE_INTERVAL_PERCENT * _LINE_INTERVAL_PERCENT
            if self._size_bytes >= _MIN_PROGRESS_BYTES
            else 0
        )
        if self._reported_percent < percent < 100:
            self._out.print(f"{self._file}: {percent} % of {self._size_bytes / 1e6:.0f} MB", markup=False)
        self._reported_percent = percent

    def end(self, file: str, how: str) -> None:
        """Print that the file is complete, and how it was obtained."""
        self._out.print(f"{file}: {how}", markup=False)


class DownloadProgressBar:
    """Shows a progress bar for the current file."""

    def __init__(self, bars: "Progress", out: "Console") -> None:
        self._progress, self._out = bars, out
        self._task_id: TaskID | None = None

    def begin(self, file: str, size: int | None) -> None:
        """Start a progress bar for a file of `size` bytes; None: unknown."""
        if self._task_id is not None:
            self._progress.remove_task(self._task_id)
        self._task_id = self._progress.add_task(file, total=size)

    def advance(self, n: int, /) -> None:
        """Advance the progress bar by `n` bytes."""
        if self._task_id is not None:
            self._progress.advance(self._task_id, n)

    def end(self, file: str, how: str) -> None:
        """Print that the file is complete, and how it was obtained."""
        self._out.print(f"{file}: {how}", markup=False)
