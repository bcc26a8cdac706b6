"""Florence-2: captions of three lengths, object detection and OCR with boxes."""

from typing import Any, Final, Literal

import numpy as np

from musetalk_core.types import Float, Image
from musetalk_core.vision.findings import DetectedObject, TextLine, bounding_box, make_text_line
from musetalk_core.vision.vlm_loader import LoadedVlm, to_pillow

Length = Literal["short", "normal", "long"]

_CAPTION_TASKS: Final[dict[Length, str]] = {
    "short": "<CAPTION>",
    "normal": "<DETAILED_CAPTION>",
    "long": "<MORE_DETAILED_CAPTION>",
}
# kinds of answers that the post-processor must have settings for
_ANSWER_KINDS: Final = ("pure_text", "ocr", "description_with_bboxes")
_MAX_TOKENS: Final = 1024
_BEAMS: Final = 3
"""Beams of the search, as in the authors' examples."""


def caption(model: LoadedVlm, bgr: Image, length: Length) -> str:
    """
    Return a caption of an image.

    Args:
        model:  a Florence-2 model.
        bgr:    (H, W, 3) uint8 BGR.
        length: one sentence, a few sentences, or a paragraph.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    return str(_run_task(model, bgr, _CAPTION_TASKS[length])).strip()


def detect_objects(model: LoadedVlm, bgr: Image) -> list[DetectedObject]:
    """
    Detect the objects in an (H, W, 3) uint8 BGR image; the model gives no scores.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    detections, size = _run_task(model, bgr, "<OD>"), (bgr.shape[1], bgr.shape[0])
    detected: list[DetectedObject] = []
    for label, corners in zip(detections["labels"], detections["bboxes"], strict=True):
        box = bounding_box(_to_points(corners), size)
        if box is not None and str(label).strip():
            detected.append(DetectedObject(str(label).strip(), box, None))
    return detected


def read_text(model: LoadedVlm, bgr: Image) -> list[TextLine]:
    """
    Read the lines of text in an (H, W, 3) uint8 BGR image; the model gives no scores.

    Raises:
        EngineOutOfMemory: the device ran out of memory.
    """
    detections, size = _run_task(model, bgr, "<OCR_WITH_REGION>"), (bgr.shape[1], bgr.shape[0])
    lines = (
        make_text_line(str(text).replace("</s>", ""), _to_points(corners), None, size)
        for text, corners in zip(detections["labels"], detections["quad_boxes"], strict=True)
    )
    return [line for line in lines if line is not None]


def _to_points(flat: Any) -> Float:
    return np.asarray(flat, np.float32).reshape(-1, 2)


def _run_task(model: LoadedVlm, bgr: Image, task: str) -> Any:
    """Run one of the model's tasks and return its parsed output; coordinates are pixels of the image."""
    inputs = model.processor(text=task, images=to_pillow(bgr), return_tensors="pt")
    ids = model.generate(inputs, max_new_tokens=_MAX_TOKENS, num_beams=_BEAMS)
    generated = model.processor.batch_decode(ids, skip_special_tokens=False)[0]
    parse_config: dict[str, Any] = model.processor.post_processor.parse_task_config
    for kind in _ANSWER_KINDS:  # model repositories differ in which they list; their values are not needed
        parse_config.setdefault(kind, {})
    size = bgr.shape[1], bgr.shape[0]
    return model.processor.post_process_generation(text=generated, task=task, image_size=size)[task]
