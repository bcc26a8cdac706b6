"""Whisper in this process: which model a job gets, its checkpoint, and the loaded network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import WeightsInvalid
from musetalk_core.transcription.choice import Choice, IfMissing, Size, choose, is_english
from musetalk_core.transcription.records import Task
from musetalk_core.weights.manifest import model
from musetalk_core.weights.pins import PinnedModel
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


def hearing(choice: Choice, pinned: PinnedModel) -> "Hearing":
    """
    Give the loaded model; it stays loaded while there is room.

    Args:
        choice: which one.
        pinned: the content of its files.

    Raises:
        ModelNotInstalled: a file is missing.
        ModelChanged: the files are not the pinned ones any more.
        WeightsInvalid: a file is not what the table of models says.
        InputError: the machine lacks the device that the settings name.
    """
    from musetalk_core.nets.device import choose_device
    from musetalk_core.nets.shelf import loaded_model
    from musetalk_core.transcription.network import load_hearing
    from tasks.models import machine

    here = machine()
    device = choose_device(here.device, here.precision)

    def load(files: dict[str, Path]) -> "Hearing":
        _require_published(pinned)
        return load_hearing(_checkpoint(files, pinned), choice.size, device)

    return loaded_model(here, pinned, ("transcribes", choice.size, device.name), load)


def _checkpoint(files: dict[str, Path], pinned: PinnedModel) -> Path:
    """Give a model's checkpoint; what a package has in another form is converted once on this computer."""
    if "weights" in files:
        return files["weights"]
    parts = [files[role] for role in sorted(files)]

    def make(folder: Path) -> None:
        from musetalk_core.transcription.conversion import convert

        layout().load(pinned, lambda _: convert(parts, folder / "checkpoint.pt"))

    key = content_key(kind=_CONVERTED, layout=1, packed=pinned.digest)
    return artefacts().path(artefacts().made_once(_CONVERTED, key, make, shared=False)) / "checkpoint.pt"


def _require_published(pinned: PinnedModel) -> None:
    """Compare the hashes of a model's files with the published ones."""
    files = {file.path: file for files in model(pinned.name).choices for file in files}
    for found in pinned.files:
        if not files[found.path].is_known_as(found.sha256):
            raise WeightsInvalid(
                f"{found.path} has the SHA-256 {found.sha256} instead of {files[found.path].sha256}: it is"
                f" damaged, or no file of {pinned.name}. Run: musetalk weights verify {pinned.name}",
                file=found.path,
            )


def voice_activity(pinned: PinnedModel) -> Any:
    """
    Give the network that finds speech, for `musetalk_core.transcription.voice_activity`.

    Args:
        pinned: the content of its file.

    Raises:
        ModelNotInstalled: its package is missing.
        ModelChanged: the file is not the pinned one any more.
        WeightsInvalid: it is damaged.
    """
    from musetalk_core.nets.shelf import loaded_model
    from musetalk_core.transcription.voice_activity import load_network
    from tasks.models import machine

    return loaded_model(machine(), pinned, (), lambda files: load_network(files["weights"]))


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
