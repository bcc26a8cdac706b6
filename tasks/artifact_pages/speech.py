"""Prefect artifacts of a speech job: the waveform and a table of sentences."""

import base64
import logging
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from musetalk_core.speech.audio.waveform import draw_waveform, encode_png
from tasks.cache.artefacts import artefact_cache
from tasks.steps.speak import SpokenText
from tasks.steps.speech_features import WAV_FILE

_MAX_ROWS = 500
_log = logging.getLogger(__name__)


def show_speech(spoken: SpokenText, texts: Sequence[str], voice: str) -> None:
    """
    Create the artifacts of a spoken text: a waveform with a line at each sentence start, and a table.

    Errors of Prefect are logged and do not fail the job.
    """
    starts = [start for start, _ in spoken.spans_s]
    picture = encode_png(draw_waveform(artefact_cache().path(spoken.artefact) / WAV_FILE, starts))
    rows = [
        {"at s": round(start, 2), "lasts s": round(end - start, 2), "sentence": text}
        for (start, end), text in zip(spoken.spans_s[:_MAX_ROWS], texts, strict=False)
    ]
    try:
        # not an image artifact: Prefect prints the URL below the picture, and a data URL is the whole picture
        create_markdown_artifact(
            markdown=f"![waveform](data:image/png;base64,{base64.b64encode(picture).decode()})\n",
            key="waveform",
            description=f"{spoken.duration_s:.1f} s spoken by {voice}; a line marks the start of a sentence",
        )
        create_table_artifact(table=rows, key="sentences", description=f"Spoken by {voice}")
    except Exception as error:
        _log.warning("the artifacts of the speech were not created: %s", error)
