"""The `musetalk weights` commands: list, locate, verify and download model files."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.plain import plain_errors, read_settings
from deployments.show import console

if TYPE_CHECKING:
    from musetalk_core.weights.layout import Layout, Look
    from musetalk_core.weights.records import Model

app = typer.Typer(help="Models on this computer: list, pull, verify.", no_args_is_help=True)

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Models or groups, as `list` shows them.")
]
_MB = 1e6


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List all known models with their state, size, source and licence."""
    import json

    with plain_errors():
        here = _layout()
        rows = [_row(here.look(name)) for name in _known()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    head = {"name": "NAME", "state": "STATE", "size": "SIZE", "source": "SOURCE", "licence": "LICENCE"}
    shown = [head, *({**row, "size": _size(row["bytes"])} for row in rows)]
    width = {key: max(len(str(row[key])) for row in shown) for key in head}
    for row in shown:
        line = "  ".join(str(row[key]).ljust(width[key]) for key in head)
        console().print(line.rstrip(), markup=False)
    console().print(f"\nFolder: {here.folder}. Groups: {', '.join(_groups())}.", markup=False)


@app.command()
def path(
    name: Annotated[str | None, typer.Argument(help="Model name; default: the folder of all models.")] = None,
) -> None:
    """Print the folder of the models, or the paths of one model's files."""
    with plain_errors():
        here = _layout()
        for line in [here.folder] if name is None else here.find(name).values():
            typer.echo(str(line))


@app.command()
def verify(names: NamesArgument = None) -> None:
    """Compare every file with its known checksum. The exit status is 1 if a file is wrong or missing."""
    from deployments.weights_show import watching
    from musetalk_core.weights.manifest import models
    from musetalk_core.weights.verify import verify as verified

    bad = False
    with plain_errors():
        here = _layout()
        chosen = [model.name for model in models(names)] if names else _there(here)
        for name in chosen:
            with watching(console()) as watch:
                watch.begin(name, _bytes(here.look(name)))
                checked = verified(here, name, on_bytes=watch.advance)
            for one in checked:
                sha256 = f" (SHA-256 {one.sha256})" if one.verdict == "unknown" else ""
                console().print(
                    f"{one.verdict.upper():<8}{name}: {one.path} {one.detail}{sha256}", markup=False
                )
            bad = bad or any(one.is_bad for one in checked)
    if bad:
        console().print("Delete the wrong files, then run: musetalk weights pull NAME", markup=False)
        raise typer.Exit(1)


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
) -> None:
    """Download models and the models they require. Existing files are kept, interrupted downloads resumed."""
    if not names and not starter:
        raise typer.BadParameter("name at least one model or group, for example musetalk, or use --starter")
    with plain_errors():
        read_settings()
        if starter:
            _see_starter()
        if names:
            _get(names, folder)


def _get(names: list[str], folder: Path | None) -> None:
    import logging

    from deployments.weights_show import watching
    from musetalk_core.weights.manifest import models
    from tasks.weights import layout, pull, take

    wanted = [model.name for model in models(names)]
    if folder is not None and not folder.is_dir():
        raise NotADirectoryError(20, "no such folder", str(folder))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with watching(console()) as watch:
        came = pull(names, watch) if folder is None else take(names, folder.absolute(), watch)
    fresh = f"{len(came)} files added" if came else "No file was missing"
    console().print(f"{fresh}; installed in {layout().folder}: {', '.join(wanted)}.", markup=False)


def _see_starter() -> None:
    """Verify the models that are part of the installation."""
    from musetalk_core.weights.manifest import GROUPS, MODELS
    from musetalk_core.weights.verify import verify as verified
    from tasks.errors import PullFailed

    here = _layout()
    for name in GROUPS["starter"]:
        bad = [one for one in verified(here, name) if one.is_bad]
        if bad:
            raise PullFailed(
                f"{name}: {bad[0].path} {bad[0].detail}. It is part of a package. Run: ./run setup"
            )
        console().print(f"{name}: complete, installed {_source(MODELS[name])}.", markup=False)


def _layout() -> "Layout":
    from tasks.weights import layout

    read_settings()
    return layout()


def _known() -> Iterable[str]:
    from musetalk_core.weights.manifest import MODELS

    return MODELS


def _groups() -> list[str]:
    from musetalk_core.weights.manifest import GROUPS

    return [f"{name} ({', '.join(members)})" for name, members in GROUPS.items()]


def _there(here: "Layout") -> list[str]:
    return [name for name in _known() if here.look(name).state != "missing"]


def _row(look: "Look") -> dict[str, Any]:
    model = look.model
    return {
        "name": model.name,
        "title": model.title,
        "state": look.state,
        "bytes": _bytes(look),
        "source": _source(model),
        "licence": model.licence,
        "needs": list(model.needs),
    }


def _bytes(look: "Look") -> int:
    """Return the size of a model's own files in bytes; the registry's size is used for missing files."""
    there = sum(file.stat().st_size for file in look.found.values())
    return there + sum(file.about for file in look.missing)


def _size(count: int) -> str:
    return f"{count / _MB:.0f} MB" if count >= _MB else f"{count / 1000:.0f} kB"


def _source(model: "Model") -> str:
    from musetalk_core.weights.records import Hub, Shipped, Web, Wheel

    match model.choices[0][-1].source:
        case Hub(repo):
            return f"hub {repo}"
        case Web(url):
            return url.split("/")[2]
        case Wheel(name):
            return f"with the package {name}"
        case Shipped():
            return "with this project"
        case None:
            return "by hand"
