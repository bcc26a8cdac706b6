"""What a person sees of an analysis in Prefect's pages: the picture with its boxes, and a table."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact


def show(picture: bytes, text: str, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Write the artifacts `analysis`, the text and the picture, and `findings`.

    Args:
        picture: a small JPEG; it is kept inside the artifact.
        text:    the answer or description.
        model:   what wrote it.
        rows:    one a finding.
    """
    link = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    quoted = "\n".join(f"> {_plain(line)}" for line in text.splitlines() or [""])
    # no image artifact: below a picture Prefect prints its address, and here that is all its data
    create_markdown_artifact(
        markdown=f"{quoted}\n\nWritten by **{model}**.\n\n![picture with boxes]({link})\n",
        key="analysis",
        description=f"{len(rows)} findings",
    )
    if rows:
        create_table_artifact(table=[dict(row) for row in rows], key="findings")


def _plain(text: str) -> str:
    """Take the meaning from what could be markup: text in a picture is foreign text."""
    for sign in "\\`*_[]<>#|!":
        text = text.replace(sign, f"\\{sign}")
    return text
