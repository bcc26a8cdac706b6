"""Voices of text to speech: choice of engine and voice, pinned weights, and the loaded CSM model."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from musetalk_core import CORE_VERSION
from musetalk_core.errors import InputError, ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.model_registry.pins import PinnedModel, digest_of
from musetalk_core.speech.tts.starter_voice import VOICE_NAME as STARTER_VOICE
from musetalk_core.warning_codes import WarningCode
from tasks.models.install import open_local_models, pin

if TYPE_CHECKING:
    from musetalk_core.speech.tts.csm.model import Csm

VoiceEngine = Literal["csm", "starter"]
VoiceName = Literal["random", "conversational_a", "conversational_b", "clone"]

_CSM, RECORDINGS, STARTER = "csm-1b", "csm-voices", "hibari"
_STARTER_MAX_CHARS = 300
"""Characters: the starter voice's memory grows with a sentence's length."""


class VoiceSpec(BaseModel, frozen=True):
    """A fully resolved voice: engine, name, parameters and pinned weights. Passed between tasks."""

    engine: VoiceEngine
    name: VoiceName = "random"
    temperature: float = 0.9
    topk: int = 50
    longest_ms: int = 10_000
    context_sentences: int = 0
    speed: float = 1.0
    seed: int = 0
    weights: tuple[PinnedModel, ...] = Field(default=(), exclude=True)
    """The pinned models, see `pin_voice`."""

    @property
    def is_recorded(self) -> bool:
        """Return whether the voice is one of the model's recordings."""
        return self.name in {"conversational_a", "conversational_b"}

    @property
    def models(self) -> tuple[str, ...]:
        """Return the registry names of the models of the voice."""
        if self.engine == "starter":
            return (STARTER,)
        return (_CSM, RECORDINGS) if self.is_recorded else (_CSM,)

    @property
    def display_name(self) -> str:
        """Return the name of the voice for people."""
        return STARTER_VOICE if self.engine == "starter" else self.name

    @property
    def max_text_chars(self) -> int:
        """Return the maximum number of characters in one piece of text."""
        if self.engine == "starter":
            return _STARTER_MAX_CHARS
        from musetalk_core.speech.tts.csm.retries import max_text_chars

        return max_text_chars(self.longest_ms / 1000)

    def pinned_model(self, name: str) -> PinnedModel:
        """
        Return one of the pinned models; pin the installed one if the job has pinned none.

        Raises:
            ModelNotInstalled, WeightsInvalid: the model is not pinned and cannot be pinned.
        """
        return next((model for model in self.weights if model.name == name), None) or pin(name)[0]

    def cache_fingerprint(self) -> dict[str, Any]:
        """Return everything but the prompt that decides how a sentence sounds, for cache keys."""
        common: dict[str, Any] = {"core": CORE_VERSION, "engine": self.engine, "seed": self.seed}
        if self.engine == "starter":
            return common | {"voice": STARTER_VOICE, "speed": self.speed}
        from musetalk_core.speech.tts.csm.model import choose_csm_device
        from musetalk_core.speech.tts.csm.retries import GENERATION_VERSION
        from tasks.models.engines import runtime_config

        return common | {
            "weights": digest_of([self.pinned_model(_CSM)]),
            "device": choose_csm_device(runtime_config()).name,
            "reading": GENERATION_VERSION,
            "temperature": self.temperature,
            "topk": self.topk,
            "longest_ms": self.longest_ms,
        }


def choose_voice(
    requested: Literal["auto"] | VoiceEngine, spec: dict[str, Any], *, fallback: bool = False
) -> tuple[VoiceSpec, list[str]]:
    """
    Choose the engine and voice of a job.

    Args:
        requested: engine that the job names; `auto` is csm if it is installed, else the starter voice.
        spec:      the other fields of a `VoiceSpec`.
        fallback:  use the best installed voice, with a warning, if the requested one is not installed. The
            voice of a recording has no substitute.

    Returns:
        The voice, and warnings: a substitute was chosen, or an option has no effect.

    Raises:
        ModelNotInstalled: csm or its recordings are required, and weights or packages are missing.
        InputError: the starter engine cannot do what the job requests.
    """
    voice = VoiceSpec(engine="starter" if requested == "starter" else "csm", **spec)
    if requested == "starter" and voice.name == "random":
        return voice, []
    error = _starter_error(voice) if requested == "starter" else _csm_error(voice)
    if error is None:
        notes = (
            []
            if voice.speed == 1.0
            else [WarningCode.OPTION_IGNORED("speed has no effect: only the starter engine has one")]
        )
        return voice, notes
    if requested == "auto" and voice.name == "random":
        return voice.model_copy(update={"engine": "starter"}), []
    if voice.name == "clone":
        raise error
    return _substitute(voice, error, fallback)


def _substitute(voice: VoiceSpec, error: InputError, fallback: bool) -> tuple[VoiceSpec, list[str]]:
    """Return the best installed voice instead of one that is not available, or raise the error."""
    other = voice.model_copy(update={"name": "random"})
    if _csm_error(other) is not None or voice.engine == "starter":
        other = other.model_copy(update={"engine": "starter"})
    used = "the starter voice" if other.engine == "starter" else "the voice random"
    if not fallback:
        raise type(error)(
            f"{str(error).rstrip('.')}. Or set `fallback: true` to use {used}.", **error.details
        )
    return other, [WarningCode.MODEL_SUBSTITUTED(f"{used} was used instead of {voice.name}. {error}")]


def _starter_error(voice: VoiceSpec) -> InputError | None:
    if voice.name == "clone":
        return InputError("The starter engine has a single voice and cannot clone voices. Use engine csm.")
    return InputError(f"The starter engine has a single voice; the voice {voice.name} needs the engine csm.")


def _csm_error(voice: VoiceSpec) -> InputError | None:
    """Return why a csm voice cannot be used here; None if it can."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        return ModelNotInstalled(
            f"The engine csm requires the packages of the extra neural. Run: {setup_command()}", model=_CSM
        )
    try:
        for name in voice.models:
            open_local_models().find(name)
    except ModelNotInstalled as error:
        return error
    return None


def pin_voice(spec: VoiceSpec) -> VoiceSpec:
    """
    Pin the current weights of a voice for the rest of the job.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `LocalModels.pin`.
    """
    return spec.model_copy(update={"weights": pin(*spec.models)})


def load_csm_voice(spec: VoiceSpec) -> "Csm":
    """
    Return the CSM model of this process, loaded with the pinned weights of a voice.

    Raises:
        ModelChanged: the files are no longer the pinned ones.
    """
    from musetalk_core.speech.tts.csm.model import load_csm
    from tasks.models.engines import runtime_config

    return load_csm(runtime_config(), spec.pinned_model(_CSM))
