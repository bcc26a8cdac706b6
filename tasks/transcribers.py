"""Whisper in this process: which model a job gets, its checkpoint, and the loaded network."""

from pathlib import Path
from typing import TYPE_CHECKING

from musetalk_core.errors import WeightsInvalid
from musetalk_core.transcription.choice import Choice, IfMissing, Size, choose, is_english
from musetalk_core.transcription.records import Task
from musetalk_core.weights.layout import Layout
from tasks.artefacts import artefacts, content_key
from tasks.weights import layout

if TYPE_CHECKING:
    from musetalk_core.transcription.network import Hearing

VOICE_ACTIVITY = "silero-vad"
_CONVERTED = "whisper"


def chosen(asked: Size | None, task: Task, language: str, if_missing: IfMissing) -> Choice:
    """
    Choose among the models of this computer; see `musetalk_core.transcription.choice`.

    Raises:
        ModelNotInstalled: none can do it.
    """
    return choose(asked, task, language, layout().installed(), if_missing)


def checkpoint(name: str) -> Path:
    """
    Give a model's checkpoint; what a package carries in another form is converted once on this computer.

    Raises:
        ModelNotInstalled: a file is missing.
        WeightsInvalid: a file is not what the table of models says.
    """
    here = layout()
    files = here.find(name)
    _require_known(here, name)
    if "weights" in files:
        return files["weights"]
    parts = [files[role] for role in sorted(files)]

    def make(folder: Path) -> None:
        from musetalk_core.transcription.conversion import convert

        convert(parts, folder / "checkpoint.pt")

    key = content_key(kind=_CONVERTED, layout=1, packed=here.digest(name))
    return artefacts().path(artefacts().made_once(_CONVERTED, key, make, shared=False)) / "checkpoint.pt"


def _require_known(here: Layout, name: str) -> None:
    """Compare hashes with the published ones; a file is read once in its life."""
    for file, path in here.look(name).found.items():
        found = here.ledger.sha256(path)
        if not file.is_known_as(found):
            raise WeightsInvalid(
                f"{path} has the SHA-256 {found} instead of {file.sha256}: it is damaged or another file.",
                file=file.path,
            )


def hearing(choice: Choice) -> "Hearing":
    """
    Give the loaded model; it stays loaded while there is room.

    Raises:
        ModelNotInstalled, WeightsInvalid: as `checkpoint`.
        InputError: the machine lacks the device that the settings name.
    """
    from musetalk_core.nets.device import choose_device
    from musetalk_core.nets.shelf import shelf
    from musetalk_core.transcription.network import load_hearing
    from tasks.models import machine

    here = machine()
    device = choose_device(here.device, here.precision)
    path = checkpoint(choice.model)
    key = ("hearing", choice.size, str(path), device.name)
    return shelf(here.memory_bytes, here.idle_s).get(key, lambda: load_hearing(path, choice.size, device))


def voice_activity() -> Path:
    """
    Give the network that finds speech.

    Raises:
        ModelNotInstalled: its package is missing.
        WeightsInvalid: it is damaged.
    """
    here = layout()
    path = here.find(VOICE_ACTIVITY)["weights"]
    _require_known(here, VOICE_ACTIVITY)
    return path


def language_code(text: str) -> str | None:
    """
    Read a language: a code or an English name; '' is None. The library is loaded for other ones than English.

    Raises:
        InputError: Whisper knows no such language.
    """
    if is_english(text):
        return "en" if text.strip() else None
    from musetalk_core.transcription.decoding import language_code as known

    return known(text)
