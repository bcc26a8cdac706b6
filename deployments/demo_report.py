"""What the demo says about a video it made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.quality import measure
from deployments.show import summary
from musetalk_core.speech.phones import Phone, load_phones


@dataclass(frozen=True, slots=True)
class Film:
    """A finished video, its job as the API describes it, and the sounds it should show."""

    title: str
    job: dict[str, Any]
    path: Path
    phones: Sequence[Phone]


def spoken_phones(speech: dict[str, Any]) -> list[Phone]:
    """
    Read the voice's own sound times.

    Args:
        speech: a finished speech job of a stack on this machine.
    """
    from tasks.artefacts import artefacts
    from tasks.refs import Artefact

    return load_phones(artefacts().path(Artefact(**speech["result"]["speech"])) / "phones.json")


def lines(film: Film) -> list[str]:
    """Say where a video is, how it was made and how good it is."""
    made = [*summary(film.job)[:1], *measure(film.path, film.phones).lines(), *summary(film.job)[1:]]
    return [f"{film.title}: {film.path.resolve()}", *(f"  {line}" for line in made)]
