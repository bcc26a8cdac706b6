"""What the speech job takes and gives; its voice is a group of other jobs, too. As `flows.schemas`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from flows.job import OUTPUT, Job, Output
from tasks.refs import Artefact, MediaUri, ObjectRef

VoiceName = Literal["random", "conversational_a", "conversational_b", "clone"]
SpeechEngine = Literal["auto", "csm", "starter"]
SoundFormat = Literal["mp3", "wav", "flac", "ogg"]
_Words = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]


class VoiceOptions(BaseModel):
    """Who speaks, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: SpeechEngine = Field(
        default="auto",
        title="Voice engine",
        description="csm: a neural voice that can be cloned; starter: one small English voice whose sound"
        " times are exact; auto: csm if it is installed.",
    )
    voice: VoiceName = Field(
        default="random",
        title="Voice",
        description="random: one of chance, the same for the same seed; clone: that of a recording. The"
        " starter engine has one voice of its own.",
    )
    reference_audio: MediaUri | None = Field(
        default=None,
        title="Reference",
        description="clone only: a recording of the voice, 2 to 60 seconds; a video will do.",
        examples=["s3://media/voices/anna.wav"],
    )
    reference_text: _Words | None = Field(
        default=None,
        title="Text of the reference",
        description="clone only: what is said in the recording, word by word.",
        examples=["We met at the station and walked home along the river."],
    )
    consent: bool = Field(
        default=False,
        title="Consent",
        description="clone only: say that the speaker agreed to have this voice cloned.",
    )
    temperature: float = Field(
        default=0.9,
        ge=0,
        le=2,
        title="Temperature",
        description="csm only: how freely it chooses; 0 always takes the likeliest.",
        examples=[0.7],
    )
    topk: int = Field(
        default=50,
        ge=1,
        le=100,
        title="Top k",
        description="csm only: among how many sounds it chooses.",
        examples=[50],
    )
    max_audio_length: int = Field(
        default=10_000,
        ge=1000,
        le=30_000,
        title="Longest piece (ms)",
        description="csm only: text is cut into pieces that fit; nothing is lost.",
        examples=[10_000],
    )
    context_sentences: int = Field(
        default=0,
        ge=0,
        le=2,
        title="Sentences heard",
        description="csm only: how many sentences before it each one hears. More: a livelier flow; but what"
        " follows an edit is spoken anew.",
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
        description="starter only: 1 is the voice's own pace.",
        examples=[0.9, 1.2],
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Same seed, same sound.",
        examples=[7],
    )

    @model_validator(mode="after")
    def _clone_is_whole(self) -> Self:
        if self.voice != "clone":
            return self
        if self.engine == "starter":
            raise ValueError("the starter engine has one voice of its own and cannot clone: take engine csm")
        if self.reference_audio is None:
            raise ValueError("reference_audio is required for voice cloning")
        if self.reference_text is None:
            raise ValueError("reference_text is required for voice cloning")
        if not self.reference_text.strip():
            raise ValueError("reference_text cannot be empty")
        if not self.consent:
            raise ValueError("cloning a voice needs consent: true, which says that its speaker agreed")
        return self


VOICE: Any = Field(
    default=VoiceOptions(), title="Voice", description="Who speaks the text, when there is no sound."
)


class SpeechText(Job):
    """What to say: a text, or several."""

    text: _Words | None = Field(
        default=None,
        title="Text",
        description="What to say (English); of any length. Either this or a monologue.",
        examples=["Hello, I am a talking picture."],
    )
    monologue: _Words | list[_Words] | None = Field(
        default=None,
        title="Monologue",
        description="The same as one text or as a list of them, said one after the other.",
        examples=[["Hello.", "I am a talking picture."]],
    )

    @model_validator(mode="after")
    def _one_text(self) -> Self:
        if self.text is None and self.monologue is None:
            raise ValueError("Missing required field: either text or monologue must be provided")
        if self.text is not None and self.monologue is not None:
            raise ValueError("Cannot provide both text and monologue parameters. Use only one.")
        if not any(part.strip() for part in self.parts):
            raise ValueError("text cannot be empty" if self.text else "monologue cannot be empty")
        return self

    @property
    def parts(self) -> list[str]:
        """Texts that are said one after the other; a sentence never spans two."""
        given = self.text if self.monologue is None else self.monologue
        return [given] if isinstance(given, str) else list(given or [])


class SpeechJob(VoiceOptions, SpeechText):
    """Speak a text."""

    format: SoundFormat | None = Field(
        default=None,
        title="Format",
        description="Of the sound file; empty: by the ending of its name, else mp3.",
    )
    output: Output = OUTPUT


class SpeechResult(BaseModel):
    """A spoken text. A lip-sync job that takes it as `job://<id>` uses its exact sound times."""

    audio: ObjectRef
    name: str
    text: str
    engine: Literal["csm", "starter"]
    voice: str
    duration_s: float
    sentences: int = Field(description="How many pieces the text was spoken in.")
    spoken: int = Field(description="How many of them were spoken now; the others came from the cache.")
    speech: Artefact
    cached: list[str]
    timings_s: dict[str, float]
    warnings: list[str] = []
