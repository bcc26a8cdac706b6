"""Florence-2: captions of three lengths, object detection and OCR with boxes."""

from typing import Any, Final, Literal

import numpy as np

from musetalk_core.analysis.findings import TextLine, Thing, box_in, line_of
from musetalk_core.analysis.transformer import Loaded, shown
from musetalk_core.types import Float, Image

Length = Literal["short", "normal", "long"]

_CAPTIONS: Final[dict[Length, str]] = {
    "short": "<CAPTION>",
    "normal": "<DETAILED_CAPTION>",
    "long": "<MORE_DETAILED_CAPTION>",
}
# kinds of answers that the post-processor must have settings for
_ANSWERS: Final = ("pure_text", "ocr", "description_with_bboxes")
_MOST_TOKENS: Final = 1024
_BEAMS: Final = 3
"""Beams of the search, as in the authors' examples."""


def caption(model: Loaded, bgr: Image, length: Length) -> str:
    """
    Return a caption of an image.

    Args:
        model:  a Florence-2 model.
        bgr:    (H, W, 3) uint8 BGR.
        length: one sentence, a few sentences, or a paragraph.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    return str(_answer(model, bgr, _CAPTIONS[length])).strip()


def objects(model: Loaded, bgr: Image) -> list[Thing]:
    """
    Detect the objects in an (H, W, 3) uint8 BGR image; the model gives no scores.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    found, size = _answer(model, bgr, "<OD>"), (bgr.shape[1], bgr.shape[0])
    things: list[Thing] = []
    for label, corners in zip(found["labels"], found["bboxes"], strict=True):
        box = box_in(_points(corners), size)
        if box is not None and str(label).strip():
            things.append(Thing(str(label).strip(), box, None))
    return things


def read(model: Loaded, bgr: Image) -> list[TextLine]:
    """
    Read the lines of text in an (H, W, 3) uint8 BGR image; the model gives no scores.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    found, size = _answer(model, bgr, "<OCR_WITH_REGION>"), (bgr.shape[1], bgr.shape[0])
    lines = (
        line_of(str(text).replace("</s>", ""), _points(corners), None, size)
        for text, corners in zip(found["labels"], found["quad_boxes"], strict=True)
    )
    return [line for line in lines if line is not None]


def _points(flat: Any) -> Float:
    return np.asarray(flat, np.float32).reshape(-1, 2)


def _answer(model: Loaded, bgr: Image, task: str) -> Any:
    """Run one of the model's tasks and return its parsed output; coordinates are pixels of the image."""
    inputs = model.processor(text=task, images=shown(bgr), return_tensors="pt")
    ids = model.generate(inputs, max_new_tokens=_MOST_TOKENS, num_beams=_BEAMS)
    written = model.processor.batch_decode(ids, skip_special_tokens=False)[0]
    rules: dict[str, Any] = model.processor.post_processor.parse_task_config
    for kind in _ANSWERS:  # model repositories differ in which they list; their values are not needed
        rules.setdefault(kind, {})
    size = bgr.shape[1], bgr.shape[0]
    return model.processor.post_process_generation(text=written, task=task, image_size=size)[task]
