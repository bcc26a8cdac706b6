"""
Warnings of job results: all codes with their meanings.

A warning is a text `code: sentence`, so that people read it and programs compare the part before the colon.
It never ends a job. Codes are public and never renamed.
"""

from enum import StrEnum
from typing import Final

MIN_SIDE_PX: Final = 240
"""A picture whose shorter side has fewer pixels is worth the warning `low_resolution`."""


class WarningCode(StrEnum):
    """A warning; the value is its public code."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "WarningCode":
        """Create a member from its code and what it means."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    def __call__(self, sentence: str) -> str:
        """Return the warning: the code and what happened here, with the remedy."""
        return f"{self.value}: {sentence}"

    NO_SPEECH = "no_speech", "The sound holds no speech. Lips stay closed, and a transcript is empty."
    SILENT_SOUND = "silent_sound", "The sound is silent, below -60 dBFS throughout."
    CLIPPED_SOUND = "clipped_sound", "The sound is overdriven: many samples are at full scale."
    TEXT_NOT_ALIGNED = (
        "text_not_aligned",
        "The given text does not fit the sound; the lips follow the sound.",
    )
    LANGUAGE_NOT_SUPPORTED = (
        "language_not_supported",
        "The lips of engine `viseme` know the sounds of English only; they follow the nearest ones or the"
        " loudness. The language is known from the text, or from a transcription of the same sound.",
    )
    SEVERAL_FACES = (
        "several_faces",
        "The picture shows several faces; the warning lists them.",
    )
    TINY_FACE = "tiny_face", "The face is so small that the mouth has few pixels."
    LOW_RESOLUTION = "low_resolution", "The picture is smaller than 240 pixels on one side."
    FACE_MISSING = (
        "face_missing",
        "Some frames of the source show no face; see `no_face`.",
    )
    LOW_FRAME_RATE = (
        "low_frame_rate",
        "The source has few frames per second; more are rendered.",
    )
    HIGH_FRAME_RATE = "high_frame_rate", "The source has more frames per second than are rendered."
    TONE_MAPPED = "tone_mapped", "The source is HDR or has a wide gamut; colors were converted to BT.709."
    FIRST_FRAME_ONLY = (
        "first_frame_only",
        "The image file holds more frames; the first one was used.",
    )
    GUESSED_ENCODING = "guessed_encoding", "The text file does not state its encoding; it was detected."
    MISSING_GLYPHS = (
        "missing_glyphs",
        "No installed font has some characters of the captions.",
    )
    CAPTIONS_AFTER_END = (
        "captions_after_end",
        "Captions begin after the end of the video and are not shown.",
    )
    VIDEO_REENCODED = (
        "video_reencoded",
        "An mp4 file cannot hold the video or its cropping; it was encoded as H.264.",
    )
    WEAK_LIP_MOVEMENT = (
        "weak_lip_movement",
        "Figures of lip movement are beyond their limits; see [Quality figures](../reference/quality.md).",
    )
    PICTURE_DEFECTS = (
        "picture_defects",
        "Figures of the picture are beyond their limits; see [Quality figures](../reference/quality.md).",
    )
    QUALITY_NOT_MEASURED = "quality_not_measured", "The quality card could not be made."
    NOT_SIGNED = "not_signed", "The output could not be signed and is stored without a C2PA manifest."
    AVATAR_NOT_LISTED = "avatar_not_listed", "The avatar could not be added to the list of avatars."
    MODEL_SUBSTITUTED = (
        "model_substituted",
        "The requested model is not installed; another one was used.",
    )
    OPTION_IGNORED = "option_ignored", "An option of the request has no effect here."
    SENTENCE_UNCERTAIN = "sentence_uncertain", "A synthesized sentence may be incomplete; listen to it."
    LANGUAGE_NOT_DETECTED = "language_not_detected", "The Whisper model supports English only."
    NO_WORD_TIMES = "no_word_times", "The transcript has no word timestamps."
    QUESTION_NOT_ANSWERED = "question_not_answered", "No installed model answers questions."
    FEATURE_UNAVAILABLE = "feature_unavailable", "No installed model computes a requested feature."


def resolution_warnings(width: int, height: int, effect: str) -> list[str]:
    """
    Return the warning about a small picture, if it is small.

    Args:
        width:  in pixels.
        height: in pixels.
        effect: what is worse for it, or what to do, as the end of a sentence.
    """
    if min(width, height) >= MIN_SIDE_PX:
        return []
    return [WarningCode.LOW_RESOLUTION(f"the picture has {width}x{height} pixels; {effect}")]
