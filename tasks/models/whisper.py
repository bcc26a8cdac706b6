"""Whisper and voice activity models of this process: choice of model and engine, checkpoint, loading."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import WeightsInvalid
from musetalk_core.installation import command
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.model_registry.registry import get_model
from musetalk_core.transcription.model_choice import (
    EngineName,
    ModelChoice,
    WhisperSize,
    choose,
    is_english,
)
from musetalk_core.transcription.transcript import WhisperTask
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.models.install import open_local_models
from tasks.models.transcription_engine import (
    RequestedEngine,
    is_packed,
    named_engine,
    transcription_engine_problem,
)

if TYPE_CHECKING:
    from musetalk_core.transcription.window_model import WindowModel

VOICE_ACTIVITY_MODEL = "silero-vad"
_CONVERTED_KIND = "whisper"


def choose_whisper(
    requested: WhisperSize | None, task: WhisperTask, language: str, *, fallback: bool
) -> ModelChoice:
    """
    Choose a Whisper model among the installed ones.

    Args:
        requested:  size that the job names; None for the default.
        task:       transcribe or translate.
        language:   language of the speech; empty to detect it.
        fallback:  use another installed size if the requested one is not installed.

    Raises:
        ModelNotInstalled: no installed model fits.
    """
    return choose(requested, task, language, open_local_models().installed_models(), fallback=fallback)


def load_whisper(choice: ModelChoice, pinned: PinnedModel, engine: EngineName) -> "WindowModel":
    """
    Return a loaded Whisper model. It stays in the model cache until memory is needed or it has been idle.

    Args:
        choice: the model.
        pinned: its pinned files.
        engine: from `choose_transcription_engine`.

    Raises:
        ModelNotInstalled: a file is missing.
        ModelChanged: the files are no longer the pinned ones.
        WeightsInvalid: a file does not match the model registry.
        InputError: the machine lacks the device that the settings name.
    """
    from musetalk_core.runtime.device import choose_device
    from musetalk_core.runtime.model_cache import get_loaded_model
    from tasks.models.engines import runtime_config

    config = runtime_config()
    device = choose_device(config.device, config.precision)

    def load(files: dict[str, Path]) -> "WindowModel":
        _require_published_hashes(pinned)
        if engine == "ctranslate2":
            from musetalk_core.transcription.ctranslate2_model import load_ctranslate2_model

            return load_ctranslate2_model(_packed_parts(files, pinned), choice.size, device)
        from musetalk_core.transcription.whisper_model import load_whisper_model

        return load_whisper_model(_checkpoint_path(files, pinned), choice.size, device)

    return get_loaded_model(config, pinned, ("transcribes", engine, choice.size, device.name), load)


def _checkpoint_path(files: dict[str, Path], pinned: PinnedModel) -> Path:
    """Return a model's checkpoint; files in the CTranslate2 format are converted once per machine."""
    if not is_packed(files):
        return files["weights"]

    def convert(target: Path) -> None:
        from musetalk_core.transcription.ctranslate2_import import convert_to_openai

        convert_to_openai(_parts(files), target)

    key = content_key(kind=_CONVERTED_KIND, layout=1, packed=pinned.digest)
    return _converted(key, "checkpoint.pt", pinned, convert)


def _packed_parts(files: dict[str, Path], pinned: PinnedModel) -> list[Path]:
    """Return a model's parts in the CTranslate2 format; checkpoints are converted once per machine."""
    if is_packed(files):
        return _parts(files)

    def convert(target: Path) -> None:
        from musetalk_core.transcription.ctranslate2_export import convert_to_ctranslate2

        convert_to_ctranslate2(files["weights"], target)

    key = content_key(kind=_CONVERTED_KIND, layout=1, checkpoint=pinned.digest)
    return [_converted(key, "model.bin", pinned, convert)]


def _converted(key: str, name: str, pinned: PinnedModel, convert: Callable[[Path], None]) -> Path:
    """Return a file of a cache entry, which `convert` writes from the pinned files if the cache lacks it."""

    def make(folder: Path) -> None:
        open_local_models().load(pinned, lambda _: convert(folder / name))

    cache = artefact_cache()
    return cache.path(cache.get_or_create(_CONVERTED_KIND, key, make, shared=False)) / name


def _parts(files: Mapping[str, Path]) -> list[Path]:
    """Return the parts of a file in CTranslate2's format, in order."""
    return [files[role] for role in sorted(files)]


def _require_published_hashes(pinned: PinnedModel) -> None:
    """Raise WeightsInvalid unless the hashes of a model's files equal the published ones."""
    files = {file.path: file for files in get_model(pinned.name).file_sets for file in files}
    for pinned_file in pinned.files:
        published = files[pinned_file.path]
        if not published.matches_sha256(pinned_file.sha256):
            raise WeightsInvalid(
                f"{pinned_file.path} has the SHA-256 {pinned_file.sha256} instead of {published.sha256}:"
                f" it is damaged, or not a file of {pinned.name}. Run:"
                f" {command(f'weights verify {pinned.name}')}",
                file=pinned_file.path,
            )


def load_voice_activity(pinned: PinnedModel) -> Any:
    """
    Return the loaded network for voice activity detection.

    Args:
        pinned: its pinned file.

    Raises:
        ModelNotInstalled: its package is missing.
        ModelChanged: the file is no longer the pinned one.
        WeightsInvalid: the file is damaged.
    """
    from musetalk_core.runtime.model_cache import get_loaded_model
    from musetalk_core.transcription.vad import load_vad
    from tasks.models.engines import runtime_config

    return get_loaded_model(runtime_config(), pinned, (), lambda files: load_vad(files["weights"]))


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


def choose_transcription_engine(
    requested: RequestedEngine, choice: ModelChoice, *, fallback: bool = False
) -> tuple[EngineName, list[str]]:
    """
    Choose the engine of a job, on the machine that executes it.

    Args:
        requested: the engine that the job names; `auto` is the engine of the settings, or else the fastest
            one for the installed files of the model: CTranslate2 on CPUs for files in its format, otherwise
            openai-whisper.
        choice:    the model of the job.
        fallback:  use openai-whisper, with a warning, if the requested engine is not installed.

    Returns:
        The engine, and a warning if it is a substitute.

    Raises:
        ModelNotInstalled: the requested engine is not installed and `fallback` is off, or the model is not
            installed.
        InputError: the machine lacks the device that the settings name.
    """
    name, warnings = named_engine(requested, fallback=fallback)
    if name != "auto":
        return name, warnings
    is_fastest = (
        transcription_engine_problem("ctranslate2") is None
        and is_packed(open_local_models().find(choice.model))
        and not _computes_on_cuda()
    )
    return ("ctranslate2" if is_fastest else "openai-whisper"), []


def _computes_on_cuda() -> bool:
    """Return whether networks run on a GPU: CTranslate2 is not chosen there without being named."""
    from musetalk_core.runtime.device import choose_device
    from tasks.models.engines import runtime_config

    config = runtime_config()
    return choose_device(config.device, config.precision).torch_device.type == "cuda"
