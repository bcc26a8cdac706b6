"""What people see of a run's result in Prefect's pages, beside the JSON that programs read."""

import base64
import logging
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from musetalk_core.speech.waveform import png, waveform
from tasks.artefacts import artefacts
from tasks.speech import WAV_FILE
from tasks.voice import SpokenText

_ROWS = 500
_log = logging.getLogger(__name__)


def show_speech(made: SpokenText, texts: Sequence[str], voice: str) -> None:
    """
    Show a spoken text: its wave with a line where each sentence begins, and a table of the sentences.

    A page that cannot be written is no reason to fail a job.
    """
    starts = [start for start, _ in made.spans_s]
    picture = png(waveform(artefacts().path(made.artefact) / WAV_FILE, starts))
    rows = [
        {"at s": round(start, 2), "lasts s": round(end - start, 2), "sentence": text}
        for (start, end), text in zip(made.spans_s[:_ROWS], texts, strict=False)
    ]
    try:
        # no image artifact: below a picture Prefect prints its address, and here that is all its data
        create_markdown_artifact(
            markdown=f"![the wave](data:image/png;base64,{base64.b64encode(picture).decode()})\n",
            key="waveform",
            description=f"{made.duration_s:.1f} s spoken by {voice}; a line where a sentence begins",
        )
        create_table_artifact(table=rows, key="sentences", description=f"Spoken by {voice}")
    except Exception as error:
        _log.warning("the speech was not shown: %s", error)
