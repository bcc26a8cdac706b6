"""
A CSM model of the real classes that is small enough to make up: random weights, two codebooks of sixteen.

It babbles. Since the end of an utterance is the code 0 in all codebooks but the last, it comes by chance once
in some dozen frames here, now and then in the first: all that can go wrong with the real model does, quickly.
"""

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|AUDIO|>", "<|audio_eos|>"]
CODEBOOKS, CODES = 2, 16


def write_csm(folder: Path, positions: int = 1024, seed: int = 0) -> Path:
    """
    Write such a model as `MUSETALK_WEIGHTS__FOLDER/csm-1b` has it.

    Args:
        folder:    of all models.
        positions: how much the model takes in.
        seed:      of the weights.
    """
    from transformers import CsmConfig, CsmForConditionalGeneration

    target = folder / "csm-1b"
    torch.manual_seed(seed)
    reader, ids = reader_of()
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = CsmConfig(
        num_codebooks=CODEBOOKS,
        vocab_size=CODES + 3,
        text_vocab_size=len(reader.tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=positions,
        **ids,
        codebook_pad_token_id=CODES + 2,
        codebook_eos_token_id=0,
        initializer_range=0.1,
        depth_decoder_config={
            "num_codebooks": CODEBOOKS,
            "backbone_hidden_size": 32,
            "vocab_size": CODES + 3,
            "num_hidden_layers": 1,
            "max_position_embeddings": CODEBOOKS + 1,
            **size,
        },
        codec_config=_codec(),
        **size,
    )
    model = CsmForConditionalGeneration(config)
    for name, buffer in model.codec_model.named_buffers():
        if name.endswith("embed_sum"):  # zero until trained: all codes would sound alike
            buffer.normal_()
    publish(model, reader, target, "400KB")
    return target


def reader_of() -> tuple[Any, dict[str, int]]:
    """Make what reads for such a model, letter by letter, and the numbers of its marks."""
    from transformers import CsmProcessor, EncodecFeatureExtractor

    reader = CsmProcessor(EncodecFeatureExtractor(sampling_rate=24_000), _tokenizer())
    bos, _, sound, end = (reader.tokenizer.convert_tokens_to_ids(name) for name in SPECIAL)
    return reader, {
        "bos_token_id": bos,
        "pad_token_id": sound,
        "audio_token_id": sound,
        "audio_eos_token_id": end,
    }


def publish(model: Any, reader: Any, target: Path, part: str) -> None:
    """Write a model as the published one lies there, weights in parts of at most such a size."""
    model.save_pretrained(target, max_shard_size=part)
    reader.tokenizer.save_pretrained(target)
    reader.feature_extractor.save_pretrained(target)
    _as_published(target)
    _recordings(target / "prompts")


def _codec() -> dict[str, object]:
    return {
        "model_type": "mimi",
        "sampling_rate": 24_000,
        "num_filters": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "codebook_size": CODES,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
        "num_quantizers": CODEBOOKS,
        "num_semantic_quantizers": 1,
        "upsample_groups": 32,
    }


def _tokenizer() -> object:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<|end_of_text|>",
        additional_special_tokens=SPECIAL[2:],
    )


def _as_published(target: Path) -> None:
    """Name the weights as the published model does: its plain `model.safetensors` is of another program."""
    for part in target.glob("model-*.safetensors"):
        part.rename(part.with_name(part.name.replace("model-", "transformers-")))
    index = target / "model.safetensors.index.json"
    named = index.read_text().replace('"model-', '"transformers-')
    index.unlink()
    (target / "transformers.safetensors.index.json").write_text(named)
    config = json.loads((target / "config.json").read_text())
    config["transformers_weights"] = "transformers.safetensors.index.json"
    (target / "config.json").write_text(json.dumps(config))


def _recordings(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(("conversational_a", "conversational_b")):
        tone = np.sin(np.arange(24_000) * 2 * np.pi * (150 + 60 * number) / 24_000) * 0.3
        with wave.open(str(folder / f"{name}.wav"), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(24_000)
            out.writeframes((tone * 32767).astype("<i2").tobytes())
