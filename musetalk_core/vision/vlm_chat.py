"""Vision-language chat models (SmolVLM, Qwen3-VL): image descriptions and visual question answering."""

from typing import Final

from musetalk_core.types import Image
from musetalk_core.vision.florence import Length
from musetalk_core.vision.vlm_loader import LoadedVlm, to_pillow

_MAX_TOKENS: Final[dict[Length, int]] = {"short": 64, "normal": 256, "long": 768}
_DESCRIBE_PROMPTS: Final[dict[Length, str]] = {
    "short": "Describe this picture in one short sentence.",
    "normal": "Describe what this picture shows in a few sentences.",
    "long": "Describe in detail what this picture shows: people, things, places, actions and text.",
}


def describe(model: LoadedVlm, bgr: Image, length: Length) -> str:
    """
    Return a description of an image.

    Args:
        model:  any image-text-to-text model with a chat template.
        bgr:    (H, W, 3) uint8 BGR.
        length: one sentence, a few sentences, or in detail.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    return answer(model, bgr, _DESCRIBE_PROMPTS[length], length)


def answer(model: LoadedVlm, bgr: Image, question: str, length: Length) -> str:
    """
    Return the answer to a question about an image.

    Args:
        model:    any image-text-to-text model with a chat template.
        bgr:      (H, W, 3) uint8 BGR.
        question: the question in plain text.
        length:   limits the answer to 64, 256 or 768 tokens.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    content = [{"type": "image", "image": to_pillow(bgr)}, {"type": "text", "text": question}]
    inputs = model.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids = model.generate(inputs, max_new_tokens=_MAX_TOKENS[length])
    new_ids = ids[:, inputs["input_ids"].shape[1] :]
    return str(model.processor.batch_decode(new_ids, skip_special_tokens=True)[0]).strip()
