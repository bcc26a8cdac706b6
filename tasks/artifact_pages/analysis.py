"""Prefect artifacts of an image analysis: the picture with its boxes, the text, and a table of findings."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact


def show_analysis(picture: bytes, text: str, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Create the Markdown artifact `analysis` and the table artifact `findings`.

    Args:
        picture: a small JPEG, which is embedded in the artifact as a data URL.
        text:    the answer or the description.
        model:   name of the model that wrote the text.
        rows:    one row per finding; without rows no table is created.
    """
    data_url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    quoted = "\n".join(f"> {_escape_markdown(line)}" for line in text.splitlines() or [""])
    # not an image artifact: Prefect prints the URL below the picture, and a data URL is the whole picture
    create_markdown_artifact(
        markdown=f"{quoted}\n\nWritten by **{model}**.\n\n![picture with boxes]({data_url})\n",
        key="analysis",
        description=f"{len(rows)} findings",
    )
    if rows:
        create_table_artifact(table=[dict(row) for row in rows], key="findings")


def _escape_markdown(text: str) -> str:
    """Escape Markdown and HTML: text that was read in a picture is untrusted."""
    for character in "\\`*_[]<>#|!":
        text = text.replace(character, f"\\{character}")
    return text
