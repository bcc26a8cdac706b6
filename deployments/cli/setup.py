"""The `musetalk setup` command: checks of this computer, the speed of the neural engine, and its weights."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.errors import EXIT_FAILED, program, read_settings, user_errors
from deployments.cli.options import JsonOption, print_json
from deployments.console import error_console, output_console, show_activity

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.settings import Settings

_CHECKS = ("home", "ffmpeg", "weights", "store", "disk")
_BYTES_PER_GB = 1e9


def setup(
    neural: Annotated[
        bool | None,
        typer.Option(
            "--neural/--no-neural",
            help="Download the weights of the neural engine, or not, without asking.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model or group to offer, as `weights list` shows it.")
    ] = "musetalk",
    probe: Annotated[bool, typer.Option(help="Measure this computer for two seconds.")] = True,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder of all stored data; default: MUSETALK_HOME.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """
    Check this computer, and offer the neural engine with its size, licence and expected speed.

    Asks before it downloads anything. Without a terminal it downloads nothing unless --neural is given.
    """
    out = error_console() if as_json else output_console()
    with user_errors():
        report = guided_setup(read_settings(home), out, neural=neural, model=model, probe=probe)
    if as_json:
        print_json(report)
    else:
        out.print(f"Start the services: {program()} up", markup=False)
    fatal = any(check["state"] == "missing" for check in report["checks"])
    if fatal or (neural and not report["verified"]["complete"]) or report["verified"]["bad"]:
        raise typer.Exit(EXIT_FAILED)


def guided_setup(
    settings: "Settings",
    out: "Console",
    *,
    neural: bool | None = None,
    model: str = "musetalk",
    probe: bool = True,
) -> dict[str, Any]:
    """
    Check this computer, offer a model, download it if it is wanted, and verify it.

    Args:
        settings: current settings.
        out:      console for the report and the question.
        neural:   whether the model is wanted; None: ask on a terminal, else no.
        model:    model or group.
        probe:    measure the speed of this computer.

    Returns:
        The findings by step, compatible with JSON.
    """
    from deployments.cli.weights import pull_models

    report: dict[str, Any] = {"checks": _run_checks(settings, out), "offer": _describe_model(model, out)}
    report["speed"] = _measure_speed(settings, out) if probe else None
    if report["offer"]["missing_bytes"] and _is_wanted(neural, out):
        # an answer on the terminal follows the licence printed above it; --neural accepts none unseen
        report["pulled"] = pull_models([model], None, out, accept_licences=neural is None)
    report["verified"] = _verify(model, out)
    return report


def _run_checks(settings: "Settings", out: "Console") -> list[dict[str, Any]]:
    from deployments.stack.doctor import run_checks

    with show_activity(out, "checking this computer"):
        findings = [one for one in run_checks(settings) if one.name in _CHECKS]
    for finding in findings:
        out.print(finding.format_line(), markup=False)
    return [finding.as_dict() for finding in findings]


def _describe_model(name: str, out: "Console") -> dict[str, Any]:
    """Print and return what the model needs: files that are missing, their size, and licences."""
    from musetalk_core.model_registry.registry import resolve_models
    from tasks.models.install import open_local_models

    local_models = open_local_models()
    statuses = [local_models.status(model.name) for model in resolve_models([name])]
    missing_bytes = sum(file.approx_bytes for status in statuses for file in status.missing)
    rows = [
        {
            "name": status.model.name,
            "title": status.model.title,
            "licence": status.model.licence,
            "state": status.state,
        }
        for status in statuses
    ]
    size = f"{missing_bytes / _BYTES_PER_GB:.1f} GB to download" if missing_bytes else "installed"
    out.print(f"\n{name}: {size}, into {local_models.folder}", markup=False)
    for row in rows:
        out.print(f"  {row['title']}: {row['state']}; licence: {row['licence']}", markup=False)
    return {"name": name, "missing_bytes": missing_bytes, "folder": local_models.folder, "models": rows}


def _measure_speed(settings: "Settings", out: "Console") -> dict[str, Any] | None:
    from dataclasses import asdict
    from importlib.util import find_spec

    if find_spec("torch") is None:
        out.print("Expected speed: unknown, because torch is not installed.", markup=False)
        return None
    from deployments.stack.neural_probe import estimate_speed

    with show_activity(out, "measuring the speed of this computer (two seconds, after loading torch)"):
        estimate = estimate_speed(settings.models)
    out.print(f"Expected speed: {estimate.describe()}.", markup=False)
    return asdict(estimate)


def _is_wanted(neural: bool | None, out: "Console") -> bool:
    if neural is not None:
        return neural
    if not sys.stdin.isatty():
        out.print(f"Nothing was downloaded. Run `{program()} setup --neural` to download it.", markup=False)
        return False
    return typer.confirm("Download it now?", default=False)


def _verify(name: str, out: "Console") -> dict[str, Any]:
    """Verify the installed files of a model and of those that it requires."""
    from musetalk_core.model_registry.registry import resolve_models
    from musetalk_core.model_registry.verify import verify_model
    from tasks.models.content_checks import check_content
    from tasks.models.install import open_local_models

    local_models = open_local_models()
    names = [model.name for model in resolve_models([name])]
    installed = [one for one in names if not local_models.status(one).missing]
    bad: list[str] = []
    for one in installed:
        with show_activity(out, f"verifying {one}"):
            checks = verify_model(local_models, one, check_content)
        bad += [f"{check.path}: {check.detail}" for check in checks if check.is_bad]
    for line in bad:
        out.print(f"wrong: {line}", markup=False)
    is_complete = len(installed) == len(names)
    if is_complete and not bad:
        out.print(f"{name}: complete and verified", markup=False)
    return {"complete": is_complete, "installed": installed, "bad": bad}
