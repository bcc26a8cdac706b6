"""Text report of the demo about each rendered video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.quality import measure
from deployments.show import summary
from musetalk_core.speech.phones import Phone, load_phones


@dataclass(frozen=True, slots=True)
class Film:
    """A rendered video with its job (as in the API) and the phones of its speech."""

    title: str
    job: dict[str, Any]
    path: Path
    phones: Sequence[Phone]


def spoken_phones(speech: dict[str, Any]) -> list[Phone]:
    """
    Load the phone times that the bundled voice reported for a speech job.

    Args:
        speech: a successful speech job, as in the API, of a stack on this computer.
    """
    from tasks.artefacts import artefacts
    from tasks.refs import Artefact

    return load_phones(artefacts().path(Artefact(**speech["result"]["speech"])) / "phones.json")


def lines(film: Film) -> list[str]:
    """Return the path, job summary and quality figures of a video, as lines of text."""
    made = [*summary(film.job)[:1], *measure(film.path, film.phones).lines(), *summary(film.job)[1:]]
    return [f"{film.title}: {film.path.resolve()}", *(f"  {line}" for line in made)]
