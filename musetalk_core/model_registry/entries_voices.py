"""Registry entries of voices for text to speech; sizes are those of the files on the hub."""

from typing import Final

from musetalk_core.model_registry.schema import File, Hub, Model

_CSM_REPO: Final = "sesame/csm-1b"


def _csm_file(name: str, role: str, approx_bytes: int) -> File:
    return File(f"csm-1b/{name}", role, Hub(_CSM_REPO, name), approx_bytes)


VOICES: Final = (
    Model(
        "csm-1b",
        "CSM 1B, context-aware text to speech, with its codec Mimi",
        "Apache-2.0; its README forbids impersonation without consent, deception and illegal use",
        _CSM_REPO,
        (
            _csm_file("config.json", "config", 3_280),
            _csm_file("generation_config.json", "generation", 264),
            _csm_file("preprocessor_config.json", "preprocessor", 271),
            _csm_file("tokenizer.json", "tokenizer", 17_209_980),
            _csm_file("tokenizer_config.json", "tokenizer_config", 50_563),
            _csm_file("transformers.safetensors.index.json", "index", 59_730),
            _csm_file("transformers-00001-of-00002.safetensors", "weights", 4_944_026_784),
            _csm_file("transformers-00002-of-00002.safetensors", "more_weights", 2_189_474_180),
        ),
        needs=("csm-voices",),
    ),
    Model(
        "csm-voices",
        "CSM voice prompts conversational_a and conversational_b",
        "Apache-2.0, unverified",
        _CSM_REPO,
        (
            _csm_file("prompts/conversational_a.wav", "conversational_a", 1_500_000),
            _csm_file("prompts/conversational_b.wav", "conversational_b", 1_500_000),
        ),
    ),
)
