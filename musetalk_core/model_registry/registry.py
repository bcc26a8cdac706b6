"""
The model registry: one record per model. Nothing is guessed: unknown values are None or `unverified`.

A hash shorter than 64 digits is the beginning of a SHA-256, taken from the file's name.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from musetalk_core.errors import InputError
from musetalk_core.installation import command, setup_command
from musetalk_core.model_registry.entries_restoration import RESTORATION
from musetalk_core.model_registry.entries_vision import VISION
from musetalk_core.model_registry.entries_voices import VOICES
from musetalk_core.model_registry.entries_whisper import WHISPER, openai_checkpoint
from musetalk_core.model_registry.schema import Bundled, File, Hub, Model, Web, Wheel

_MUSETALK_REPO: Final = "TMElyralab/MuseTalk"
_MUSETALK_LICENCE: Final = (
    "free for any use (README) or creativeml-openrail-m (model card), unverified: read both before selling"
)
_MUSETALK_NEEDS: Final = ("sd-vae", "whisper-tiny", "dwpose", "face-parse", "s3fd")
_VAE_REPO, _WHISPER_REPO = "stabilityai/sd-vae-ft-mse", "openai/whisper-tiny"
_WHISPER_TINY_SHA256: Final = "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9"


def _unet_files(folder: str, weights: str) -> tuple[File, ...]:
    config, net = f"{folder}/musetalk.json", f"{folder}/{weights}"
    return (
        File(config, "config", Hub(_MUSETALK_REPO, config), 1_000),
        File(net, "weights", Hub(_MUSETALK_REPO, net), 3_400_000_000),
    )


def _vae_weights(name: str) -> tuple[File, ...]:
    return (File(f"sd-vae/{name}", "weights", Hub(_VAE_REPO, name), 335_000_000),)


def _whisper_files(name: str) -> tuple[File, ...]:
    return (
        File("whisper/config.json", "config", Hub(_WHISPER_REPO, "config.json"), 2_000),
        File(f"whisper/{name}", "weights", Hub(_WHISPER_REPO, name), 151_000_000),
    )


_TABLE: Final = (
    Model(
        "musetalk-v15",
        "MuseTalk 1.5, the UNet",
        _MUSETALK_LICENCE,
        _MUSETALK_REPO,
        _unet_files("musetalkV15", "unet.pth"),
        needs=_MUSETALK_NEEDS,
    ),
    Model(
        "musetalk-v1",
        "MuseTalk 1.0, the UNet",
        _MUSETALK_LICENCE,
        _MUSETALK_REPO,
        _unet_files("musetalk", "pytorch_model.bin"),
        needs=_MUSETALK_NEEDS,
    ),
    Model(
        "sd-vae",
        "Stable Diffusion VAE, ft-mse",
        "MIT, unverified",
        _VAE_REPO,
        (File("sd-vae/config.json", "config", Hub(_VAE_REPO, "config.json"), 1_000),),
        (_vae_weights("diffusion_pytorch_model.safetensors"), _vae_weights("diffusion_pytorch_model.bin")),
    ),
    Model(
        "whisper-tiny",
        "Whisper tiny, multilingual: transcription, and MuseTalk's audio encoder",
        "MIT",
        _WHISPER_REPO,
        alternatives=(
            _whisper_files("model.safetensors"),
            _whisper_files("pytorch_model.bin"),
            openai_checkpoint("tiny", _WHISPER_TINY_SHA256, 76_000_000),
        ),
    ),
    *WHISPER,
    Model(
        "dwpose",
        "DWPose, whole-body landmarks",
        "Apache-2.0, unverified",
        "yzd-v/DWPose",
        (
            File(
                "dwpose/dw-ll_ucoco_384.pth",
                "weights",
                Hub("yzd-v/DWPose", "dw-ll_ucoco_384.pth"),
                134_000_000,
            ),
        ),
    ),
    Model(
        "face-parse",
        "BiSeNet face parser, 19 classes",
        "MIT, unverified",
        "zllrunning/face-parsing.PyTorch",
        (
            File(
                "face-parse-bisent/79999_iter.pth",
                "weights",
                Hub("ManyOtherFunctions/face-parse-bisent", "79999_iter.pth"),
                53_000_000,
                manual_instructions="It is also on Google Drive, file id 154JgKpzCPW82qINcVieuPH3fZ2e0P812.",
            ),
        ),
    ),
    Model(
        "s3fd",
        "S3FD, face detector",
        "BSD-3-Clause, unverified",
        "1adrianb/face-alignment",
        (
            File(
                "s3fd/s3fd-619a316812.pth",
                "weights",
                Web("https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth"),
                90_000_000,
                sha256="619a316812",
                other_paths=("s3fd-619a316812.pth", "s3fd/s3fd.pth", "s3fd.pth"),
                shared=True,
                manual_instructions=(
                    "If the original program ran here, it is in torch's hub/checkpoints folder."
                ),
            ),
        ),
    ),
    *RESTORATION,
    *VOICES,
    Model(
        "face-mesh",
        "MediaPipe face detector and face mesh",
        "Apache-2.0",
        "google-ai-edge/mediapipe",
        (
            File(
                "face_detection_short_range.tflite",
                "detector",
                Bundled(),
                229_714,
                bytes=229_714,
                sha256="bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
            ),
            File(
                "face_landmark.tflite",
                "mesh",
                Bundled(),
                1_242_398,
                bytes=1_242_398,
                sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
            ),
        ),
    ),
    Model(
        "hibari",
        "Starter voice, English",
        "Apache-2.0",
        "hibari-tts",
        (
            File(
                "hibari/assets/hibari.onnx",
                "weights",
                Wheel("hibari-tts"),
                7_936_868,
                bytes=7_936_868,
                sha256="5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
            ),
            File("hibari/assets/vocab.json", "letters", Wheel("hibari-tts"), 1_144),
            File("hibari/assets/voices.json", "voices", Wheel("hibari-tts"), 1_411),
        ),
    ),
    Model(
        "pocketsphinx",
        "Starter phone recognizer, English",
        "BSD",
        "pocketsphinx",
        tuple(
            File(f"pocketsphinx/model/en-us/{path}", role, Wheel("pocketsphinx"), about)
            for path, role, about in (
                ("cmudict-en-us.dict", "dictionary", 3_275_645),
                ("en-us-phone.lm.bin", "phones", 857_195),
                ("en-us/feat.params", "features", 164),
                ("en-us/mdef", "definition", 2_959_176),
                ("en-us/means", "means", 838_732),
                ("en-us/noisedict", "noises", 56),
                ("en-us/sendump", "senones", 1_969_024),
                ("en-us/transition_matrices", "transitions", 2_080),
                ("en-us/variances", "variances", 838_732),
            )
        ),
    ),
    *VISION,
)

MODELS: Final[Mapping[str, Model]] = {model.name: model for model in _TABLE}
"""All models in the registry, by name."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "musetalk": ("musetalk-v15",),
    "csm": ("csm-1b",),
    "starter": tuple(model.name for model in _TABLE if model.is_starter),
}
"""Names that stand for several models."""
_ALIASES: Final = {"whisper-large": "whisper-large-v3"}
"""Other names of models: the size `large` of a job is large-v3."""


def get_model(name: str) -> Model:
    """
    Return a model by name.

    Raises:
        InputError: the name is unknown; the message lists all names, the most similar one first.
    """
    try:
        return MODELS[_ALIASES.get(name, name)]
    except KeyError:
        known_names = [*GROUPS, *MODELS]
        similar = get_close_matches(name, known_names, n=1)
        hint = f" Did you mean {similar[0]}?" if similar else ""
        raise InputError(
            f"There is no model {name}.{hint} There are {', '.join(known_names)}.", model=name
        ) from None


def resolve_models(names: Iterable[str]) -> list[Model]:
    """
    Return models and their dependencies, without duplicates, in download order.

    Args:
        names: of models and groups.

    Raises:
        InputError: a name is unknown.
    """
    resolved: dict[str, Model] = {}
    for name in names:
        for member in GROUPS.get(name, (name,)):
            requested = get_model(member)
            resolved |= {requested.name: requested} | {need: get_model(need) for need in requested.needs}
    return list(resolved.values())


def install_command(name: str) -> str:
    """Return the command that installs a model together with the models it is used with."""
    for group, members in GROUPS.items():
        if any(member.name == name for member in resolve_models(members)):
            return command(f"weights pull {group}") if group != "starter" else setup_command()
    return command(f"weights pull {name}")
