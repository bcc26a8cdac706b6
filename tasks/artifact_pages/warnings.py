"""Prefect artifact with the warnings of a job."""

import logging
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

_log = logging.getLogger(__name__)


def show_warnings(warnings: Sequence[str]) -> None:
    """Create the artifact `warnings`, if there are any. Errors of Prefect are logged only."""
    if not warnings:
        return
    try:
        create_markdown_artifact(
            markdown="\n".join(f"* {text}" for text in warnings) + "\n",
            key="warnings",
            description=f"{len(warnings)} warnings: {', '.join(text.partition(':')[0] for text in warnings)}",
        )
    except Exception as error:
        _log.warning("the artifact of the warnings was not created: %s", error)
