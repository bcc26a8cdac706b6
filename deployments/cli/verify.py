"""The `musetalk verify` command: Content Credentials (C2PA) and imperceptible mark of a local file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.errors import user_errors
from deployments.console import output_console

if TYPE_CHECKING:
    from musetalk_core.content_credentials.reading import ManifestReport
    from tasks.catalog.mark_finding import MarkFinding

_SENTENCES = {
    "valid": "Valid: unchanged since a trusted signer signed it.",
    "unknown_signer": "Unchanged since it was signed, by a signer that is not trusted here.",
    "altered": "Altered: the file or its manifest was changed after signing.",
    "no_manifest": "No manifest: nothing is known about this file.",
}


def verify(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Image, sound or video file.")
    ],
    sidecar: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Manifest beside the file. Default: FILE.c2pa, if there is one."
        ),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="PEM file with root certificates to trust besides those of this computer.",
        ),
    ] = None,
    search_mark: Annotated[
        bool,
        typer.Option(
            "--mark/--no-mark", help="Search for the imperceptible mark of this system; takes seconds."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """
    Check who signed a file, whether it was changed since, and what it was made from. Sends nothing.

    Exits with 1 if there is no valid manifest, also if the imperceptible mark of this system is found.
    """
    from musetalk_core.content_credentials.file_type import detect_media_type
    from musetalk_core.content_credentials.reading import verify_file
    from musetalk_core.content_credentials.signing import SIDECAR_SUFFIX
    from tasks.catalog.mark_detection import find_mark
    from tasks.content_credentials.signing_keys import trust_anchors

    with user_errors():
        beside = sidecar or file.with_name(file.name + SIDECAR_SUFFIX)
        manifest = beside.read_bytes() if beside.is_file() else None
        anchors = trust_anchors() + (trust.read_text() if trust else "")
        result = verify_file(file, detect_media_type(file), anchors=anchors, sidecar=manifest)
        mark = find_mark(file) if search_mark else None
    if as_json:
        typer.echo(json.dumps({**asdict(result), "mark": mark and mark.model_dump()}, indent=2))
    else:
        lines = [_SENTENCES[result.state], *(f"  {problem}" for problem in result.problems)]
        if result.manifest is not None:
            lines += _describe(result.manifest, "")
        if mark is not None:
            lines.append(_describe_mark(mark))
        for line in lines:
            output_console().print(line, markup=False, highlight=False)
    if result.state not in ("valid", "unknown_signer"):
        raise typer.Exit(1)


def _describe_mark(mark: "MarkFinding") -> str:
    evidence = {"picture": mark.picture, "sound": mark.sound}
    places = [place for place, one in evidence.items() if one is not None and one.found]
    if not places:
        return "Imperceptible mark of this system: not found."
    return f"Imperceptible mark of this system: found in the {' and '.join(places)}. The file was made here."


def _describe(manifest: "ManifestReport", indent: str) -> list[str]:
    """Return the lines about a manifest and, indented, about its input files."""
    lines = [
        f"{indent}signed by {manifest.signer or 'an unnamed signer'}, {manifest.issuer or 'unknown issuer'}"
        f"{f', at {manifest.signed_at}' if manifest.signed_at else ''}",
        f"{indent}made by {manifest.program or 'an unnamed program'}:"
        f" {', '.join(manifest.actions) or 'no actions'}",
    ]
    if manifest.source_types:
        lines.append(f"{indent}source type: {', '.join(manifest.source_types)}")
    for ingredient in manifest.ingredients:
        state = f", altered ({', '.join(ingredient.problems)})" if ingredient.problems else ""
        lines.append(f"{indent}input {ingredient.title or 'file'} ({ingredient.relationship}){state}")
        if ingredient.manifest is not None:
            lines += _describe(ingredient.manifest, indent + "  ")
    return lines
