"""Request and result schemas of the speech job, and the voice options of other jobs. Pure pydantic."""

from typing import Annotated, Any, Literal, Self

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from flows.schemas.base import FALLBACK_FIELD, OUTPUT_FIELD, JobParameters, Output, Usage, Warnings
from flows.schemas.label import LABEL_FIELD, MARK_FIELD, MarkChoice, MediaLabel, refuse
from flows.schemas.provenance import PROVENANCE_FIELD, Provenance
from tasks.refs import Artefact, MediaUri, ObjectRef

VoiceName = Literal["random", "conversational_a", "conversational_b", "clone"]
SpeechEngine = Literal["auto", "csm", "starter"]
AudioFormat = Literal["mp3", "wav", "flac", "ogg"]
_NonEmptyText = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]


class VoiceOptions(BaseModel):
    """Voice engine, voice, and synthesis parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: SpeechEngine = Field(
        default="auto",
        title="Voice engine",
        description="csm: a neural voice that can be cloned; starter: one small English voice"
        " with exact phoneme times; auto: csm if it is installed.",
    )
    voice: VoiceName = Field(
        default="random",
        title="Voice",
        description="random: a voice chosen by the seed; clone: the voice of a recording. The"
        " starter engine has only its own voice.",
    )
    reference_audio: MediaUri | None = Field(
        default=None,
        title="Reference audio",
        description="clone only: recording of the voice, 2 to 60 seconds; may be a video.",
        examples=["s3://media/voices/anna.wav"],
    )
    reference_text: _NonEmptyText | None = Field(
        default=None,
        title="Reference text",
        description="clone only: exact words of the recording.",
        examples=["We met at the station and walked home along the river."],
    )
    consent: bool = Field(
        default=False,
        title="Consent",
        description="clone only: confirms that the speaker agreed to the cloning of this voice.",
    )
    temperature: float = Field(
        default=0.9,
        ge=0,
        le=2,
        title="Temperature",
        description="csm only: sampling temperature; 0 always takes the most probable token.",
        examples=[0.7],
    )
    topk: int = Field(
        default=50,
        ge=1,
        le=100,
        title="Top k",
        description="csm only: number of most probable tokens to sample from.",
        examples=[50],
    )
    max_audio_length: int = Field(
        default=10_000,
        ge=1000,
        le=30_000,
        title="Maximum piece length (ms)",
        description="csm only: the text is split into pieces that fit; nothing is cut off.",
        examples=[10_000],
    )
    context_sentences: int = Field(
        default=0,
        ge=0,
        le=2,
        title="Context sentences",
        description="csm only: number of previous sentences used as context. More context sounds"
        " more fluent, but after an edit the following sentences are synthesized again.",
        examples=[1],
    )
    pause_duration: int = Field(
        default=150,
        ge=0,
        le=1000,
        title="Pause (ms)",
        description="Silence between sentences.",
        examples=[150, 400],
    )
    speed: float = Field(
        default=1.0,
        ge=0.5,
        le=2.0,
        title="Speed",
        description="starter only: speaking rate; 1 is the normal rate.",
        examples=[0.9, 1.2],
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="The same seed gives the same audio.",
        examples=[7],
    )

    @model_validator(mode="after")
    def _validate_clone(self) -> Self:
        if self.voice != "clone":
            return self
        if self.engine == "starter":
            raise ValueError("the starter engine cannot clone a voice: use engine csm")
        if self.reference_audio is None:
            raise ValueError("reference_audio is required for voice cloning")
        if self.reference_text is None:
            raise ValueError("reference_text is required for voice cloning")
        if not self.reference_text.strip():
            raise ValueError("reference_text cannot be empty")
        if not self.consent:
            raise ValueError("voice cloning requires consent: true, which confirms that the speaker agreed")
        return self


VOICE_FIELD: Any = Field(
    default=VoiceOptions(), title="Voice", description="Voice for the text, if there is no audio."
)


class SpeechText(JobParameters):
    """The text to speak: one text, or a list of texts."""

    text: _NonEmptyText | None = Field(
        default=None,
        title="Text",
        description="Text to speak (English), of any length. Set either text or monologue.",
        examples=["Hello, I am a talking picture."],
    )
    monologue: _NonEmptyText | Annotated[list[_NonEmptyText], MaxLen(5000)] | None = Field(
        default=None,
        title="Monologue",
        description="One text, or a list of texts that are spoken one after the other.",
        examples=[["Hello.", "I am a talking picture."]],
    )

    @model_validator(mode="after")
    def _require_one_text(self) -> Self:
        if self.text is None and self.monologue is None:
            raise ValueError("Missing required field: either text or monologue must be provided")
        if self.text is not None and self.monologue is not None:
            raise ValueError("Cannot provide both text and monologue parameters. Use only one.")
        if not any(part.strip() for part in self.parts):
            raise ValueError("text cannot be empty" if self.text else "monologue cannot be empty")
        return self

    @property
    def parts(self) -> list[str]:
        """Texts that are spoken one after the other; a sentence never spans two of them."""
        texts = self.text if self.monologue is None else self.monologue
        return [texts] if isinstance(texts, str) else list(texts or [])


class SpeechJob(VoiceOptions, SpeechText):
    """Synthesize speech from a text."""

    format: AudioFormat | None = Field(
        default=None,
        title="Format",
        description="Format of the audio file. Empty: from the extension of its name, otherwise mp3.",
    )
    fallback: bool = FALLBACK_FIELD
    label: MediaLabel = LABEL_FIELD
    imperceptible_mark: MarkChoice | None = MARK_FIELD
    output: Output = OUTPUT_FIELD

    @model_validator(mode="after")
    def _check_label(self) -> Self:
        refuse(self.label, "corner", "speech has no picture: use show spoken")
        refuse(self.label, "opening", "speech has no picture: use show spoken")
        return self


class SpeechResult(BaseModel):
    """A synthesized text. A lip-sync job that uses it as `job://<id>` gets exact phoneme times."""

    audio: ObjectRef
    name: str
    text: str
    engine: Literal["csm", "starter"]
    voice: str
    duration_s: float
    sentences: int = Field(description="Number of pieces in which the text was synthesized.")
    spoken: int = Field(description="Number of pieces that were synthesized; the others came from the cache.")
    speech: Artefact
    cached: list[str]
    timings_s: dict[str, float]
    usage: Usage = {}
    provenance: Provenance = PROVENANCE_FIELD
    warnings: Warnings = []
