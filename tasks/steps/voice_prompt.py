"""Prefect task that creates the prompt of a CSM voice: a recording and its transcript, used as context."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

from musetalk_core import CORE_VERSION
from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.model_registry.pins import digest_of
from musetalk_core.speech.audio.loudness import normalize_loudness
from musetalk_core.speech.tts.concatenate import read_wav
from musetalk_core.types import VOICE_RATE_HZ, Float
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.inputs.sources import source_path
from tasks.models.install import open_local_models
from tasks.models.voices import RECORDINGS, VoiceSpec, load_csm_voice
from tasks.refs import Artefact, SourceFile
from tasks.run.cancellation import Cancelled, raise_if_cancelled
from tasks.run.media_limits import media_limits
from tasks.run.reports import Report, phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced
from tasks.steps.speech_features import TEXT_FILE, WAV_FILE

if TYPE_CHECKING:
    from musetalk_core.speech.tts.csm.model import ContextTurn
    from musetalk_core.speech.tts.csm.retries import SpokenSentence

VOICE_KIND = "voice"
_REFERENCE_RANGE_S = 2.0, 60.0


def prompt_key(spec: VoiceSpec, reference: SourceFile | None, words: str | None) -> str:
    """Return the cache key of a voice prompt."""
    return content_key(
        kind=VOICE_KIND,
        core=CORE_VERSION,
        name=spec.name,
        spoken_by=spec.cache_fingerprint() if spec.name == "random" else None,
        recorded=digest_of([spec.pinned_model(RECORDINGS)]) if spec.is_recorded else None,
        reference=reference and reference.sha256,
        words=words,
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def voice_prompt(key: str, spec: VoiceSpec, reference: SourceFile | None, words: str | None) -> Artefact:
    """
    Create a voice prompt: a random voice, a recording of the model, or a clone of the caller's recording.

    Args:
        key:       `prompt_key` of the other arguments.
        spec:      the voice.
        reference: the recording to clone; None for other voices.
        words:     transcript of the recording; None for other voices.

    Raises:
        InputError: the recording is not 2 to 60 seconds long, or has no audio.
        ModelNotInstalled: the recorded voices are not installed.
        EngineError: the model generated no random voice.
    """
    with phase("speak", concurrent=True) as report:

        def make(folder: Path) -> None:
            text, samples = _make_prompt(spec, reference, words, folder, report)
            write_wav(folder / WAV_FILE, samples, VOICE_RATE_HZ)
            (folder / TEXT_FILE).write_text(text)

        return artefact_cache().get_or_create(VOICE_KIND, key, make)


def _make_prompt(
    spec: VoiceSpec, reference: SourceFile | None, words: str | None, folder: Path, report: Report
) -> tuple[str, Float]:
    from musetalk_core.speech.tts.csm.prompts import SELF_INTRODUCTION, TRANSCRIPTS

    if spec.name == "random":
        return SELF_INTRODUCTION, generate_with_csm(SELF_INTRODUCTION, spec, (), report).samples
    if reference is None:
        pinned = spec.pinned_model(RECORDINGS)
        return TRANSCRIPTS[spec.name], open_local_models().load(
            pinned, lambda files: _read_recording(files[spec.name], folder)
        )
    samples = _read_recording(source_path(reference), folder)
    seconds = len(samples) / VOICE_RATE_HZ
    if not _REFERENCE_RANGE_S[0] <= seconds <= _REFERENCE_RANGE_S[1]:
        low, high = _REFERENCE_RANGE_S
        raise InputError(
            f"The recording of the voice is {seconds:.1f} seconds long; it must have {low:.0f} to {high:.0f}"
            " seconds.",
            seconds=round(seconds, 1),
        )
    return " ".join((words or "").split()), samples


def _read_recording(path: Path, folder: Path) -> Float:
    raw = folder / "recording.f32"
    try:
        count = decode_speech(path, raw, media_limits(), VOICE_RATE_HZ)
        # read one sample more than allowed, enough to detect a recording that is too long
        max_samples = int(_REFERENCE_RANGE_S[1] * VOICE_RATE_HZ) + 1
        return normalize_loudness(PcmFile(raw).read(0, min(count, max_samples)), VOICE_RATE_HZ)
    finally:
        raw.unlink(missing_ok=True)


def context_turn(artefact: Artefact, text: str | None = None) -> "ContextTurn":
    """
    Return a spoken cache entry as context for the model.

    Args:
        artefact: cache entry of a voice prompt or a sentence.
        text:     its words; None to read them from the entry of a voice prompt.
    """
    from musetalk_core.speech.tts.csm.model import ContextTurn

    folder = artefact_cache().path(artefact)
    words = (folder / TEXT_FILE).read_text() if text is None else text
    return ContextTurn(words, read_wav(folder / WAV_FILE))


def generate_with_csm(
    text: str, spec: VoiceSpec, context: "Sequence[ContextTurn]", report: Report
) -> "SpokenSentence":
    """
    Generate the speech of a sentence with CSM; cancellation and the end of the run stop it within a frame.

    Raises:
        EngineError: the model generated no audio.
        InputError:  the text has nothing to speak, or the context is too long for the model.
        Cancelled:   the job was canceled, or its run has ended.
    """
    from musetalk_core.speech.tts.csm.model import Sampling
    from musetalk_core.speech.tts.csm.retries import generate_with_retries

    def check_stop(_: int) -> None:
        raise_if_cancelled()
        if report.is_closed:
            raise Cancelled("the run of this sentence has ended")

    return generate_with_retries(
        load_csm_voice(spec),
        text,
        context,
        max_duration_s=spec.longest_ms / 1000,
        sampling=Sampling(spec.temperature, spec.topk),
        seed=spec.seed,
        on_frame=check_stop,
    )
