"""Whisper and voice activity models of this process: choice of the model, its checkpoint, and loading."""

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
    Choose a Whisper model among the installed ones.

    Args:
        requested:  size that the job names; None for the default.
        task:       transcribe or translate.
        language:   language of the speech; empty to detect it.
        if_missing: what to do if the model of that size is not installed.

    Raises:
        ModelNotInstalled: no installed model fits.
    """
    return choose(asked, task, language, layout().installed(), if_missing)


def hearing(choice: Choice, pinned: PinnedModel) -> "Hearing":
    """
    Return a loaded Whisper model. It stays in the model cache until memory is needed or it has been idle.

    Args:
        choice: the model.
        pinned: its pinned files.

    Raises:
        ModelNotInstalled: a file is missing.
        ModelChanged: the files are no longer the pinned ones.
        WeightsInvalid: a file does not match the model registry.
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
    """Return a model's checkpoint; files in the CTranslate2 format are converted once per machine."""
    if "weights" in files:
        return files["weights"]
    parts = [files[role] for role in sorted(files)]

    def make(folder: Path) -> None:
        from musetalk_core.transcription.conversion import convert

        layout().load(pinned, lambda _: convert(parts, folder / "checkpoint.pt"))

    key = content_key(kind=_CONVERTED, layout=1, packed=pinned.digest)
    return artefacts().path(artefacts().made_once(_CONVERTED, key, make, shared=False)) / "checkpoint.pt"


def _require_published(pinned: PinnedModel) -> None:
    """Raise WeightsInvalid unless the hashes of a model's files equal the published ones."""
    files = {file.path: file for files in model(pinned.name).choices for file in files}
    for found in pinned.files:
        if not files[found.path].is_known_as(found.sha256):
            raise WeightsInvalid(
                f"{found.path} has the SHA-256 {found.sha256} instead of {files[found.path].sha256}: it is"
                f" damaged, or not a file of {pinned.name}. Run: musetalk weights verify {pinned.name}",
                file=found.path,
            )


def voice_activity(pinned: PinnedModel) -> Any:
    """
    Return the loaded network for voice activity detection.

    Args:
        pinned: its pinned file.

    Raises:
        ModelNotInstalled: its package is missing.
        ModelChanged: the file is no longer the pinned one.
        WeightsInvalid: the file is damaged.
    """
    from musetalk_core.nets.shelf import loaded_model
    from musetalk_core.transcription.voice_activity import load_network
    from tasks.models import machine

    return loaded_model(machine(), pinned, (), lambda files: load_network(files["weights"]))


def language_code(text: str) -> str | None:
    """
    Return the code of a language, given as a code or an English name; None for the empty string.

    English is recognized without importing the Whisper library.

    Raises:
        InputError: Whisper does not support the language.
    """
    if is_english(text):
        return "en" if text.strip() else None
    from musetalk_core.transcription.decoding import language_code as known

    return known(text)
