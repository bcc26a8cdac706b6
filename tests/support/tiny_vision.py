"""
Vision-language models of the real classes that are small enough to make up: random weights, letters as words.

Left to chance they babble for as long as they may. A few of their weights are set so that they write a given
text whatever they are shown; what is proved with them is all around the weights: files, loading, inputs,
generating, decoding.
"""

from pathlib import Path

import torch

_WORDS = ["<s>", "<pad>", "</s>", "<unk>"]
_PLACES = [f"<loc_{n}>" for n in range(1000)]


def write_florence(folder: Path, says: str, name: str = "florence-2-base", seed: int = 0) -> Path:
    """
    Write a Florence-2 as `MUSETALK_WEIGHTS__FOLDER/vision` has it.

    Args:
        folder: of all models.
        says:   what it writes; `<loc_0>` to `<loc_999>` are places.
        name:   of the manifest.
        seed:   of the weights.
    """
    from transformers import Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    target = folder / "vision" / name
    tokenizer = _tokenizer(["<image>", "<od>", "</od>", "<ocr>", "</ocr>", *_PLACES])
    pictures = CLIPImageProcessorPil(
        size={"height": 64, "width": 64},
        crop_size={"height": 64, "width": 64},
        do_center_crop=False,
        resample=3,
    )
    pictures.image_seq_length = 5  # 2 x 2 places and their mean
    torch.manual_seed(seed)
    config = Florence2Config(
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [8, 8, 16, 16],
            "num_heads": [1, 1, 2, 2],
            "num_groups": [1, 1, 2, 2],
            "window_size": 4,
            "projection_dim": 64,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 64,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 1200,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
            "forced_eos_token_id": 2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Florence2ForConditionalGeneration(config)
    _teach_by_place(model, tokenizer(says)["input_ids"])
    model.save_pretrained(target)
    Florence2Processor(pictures, tokenizer).save_pretrained(target)
    return target


def _teach_by_place(model, tokens: list[int]) -> None:
    """Let the n-th place of the decoder mean the n-th word: what it attends to adds nothing."""
    words = model.get_input_embeddings().weight
    decoder = model.model.language_model.decoder
    with torch.no_grad():
        words.normal_()
        for layer in decoder.layers:
            for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                part.weight.zero_()
                part.bias.zero_()
        for place, token in enumerate([*tokens, 2]):
            decoder.embed_positions.weight[place + 2] = 30 * words[token]  # BART's places begin at 2


def write_smolvlm(folder: Path, says: str, name: str = "smolvlm-256m", seed: int = 0) -> Path:
    """
    Write an Idefics3, the class of the first SmolVLMs, as `MUSETALK_WEIGHTS__FOLDER/vision` has it.

    Args:
        folder: of all models.
        says:   what it writes; no letter twice, and no colon.
        name:   of the manifest.
        seed:   of the weights.
    """
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    target = folder / "vision" / name
    tiles = [f"<row_{row + 1}_col_{column + 1}>" for row in range(6) for column in range(6)]
    special = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *tiles]
    tokenizer = _tokenizer(special)
    pictures = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    template = (
        "{% for message in messages %}{{ message['role'] }}:"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}<end_of_utterance>\n{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"
    )
    processor = Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=template)
    torch.manual_seed(seed)
    config = Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
        },
    )
    model = Idefics3ForConditionalGeneration(config)
    _teach_by_word(model, tokenizer(f":{says}")["input_ids"])
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 1
    model.save_pretrained(target)
    processor.save_pretrained(target)
    return target


def _teach_by_word(model, tokens: list[int]) -> None:
    """Let each word mean the one that follows: what it attends to adds nothing."""
    words = model.get_input_embeddings().weight
    with torch.no_grad():
        words.normal_()
        model.lm_head.weight.zero_()
        for layer in model.model.text_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        for word, following in zip(tokens, [*tokens[1:], 2], strict=True):
            model.lm_head.weight[following] = words[word]


def _tokenizer(special: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: n for n, word in enumerate([*_WORDS, *letters])}
    raw = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=special,
        extra_special_tokens={"image_token": "<image>"},
    )
