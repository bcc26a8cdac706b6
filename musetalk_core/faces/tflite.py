"""The bundled LiteRT (TFLite) face networks: verified once per process, one interpreter per thread."""

import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.types import Float

FACE_MESH: Final = "face-mesh"
"""Name of both networks in the model registry."""
BUNDLED_FOLDER: Final = Path(__file__).resolve().parents[1] / "models"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A LiteRT file name and the SHA-256 of the file."""

    name: str
    sha256: str


DETECTOR: Final = ModelFile(
    "face_detection_short_range.tflite", "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
)
MESH: Final = ModelFile(
    "face_landmark.tflite", "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
)


class LiteRtNetwork:
    """One loaded graph. Not thread-safe: it reuses its input buffer."""

    def __init__(self, content: bytes) -> None:
        self._graph = _create_interpreter(content)
        self._input: int = self._graph.get_input_details()[0]["index"]
        self._outputs: dict[str, int] = {d["name"]: d["index"] for d in self._graph.get_output_details()}

    def __call__(self, values: Float) -> dict[str, Float]:
        """
        Run the graph on one image.

        Args:
            values: (h, w, 3) float32 RGB, scaled as the graph expects.

        Returns:
            Output name -> float32 array, copied.
        """
        self._graph.set_tensor(self._input, values[None])
        self._graph.invoke()
        return {name: np.asarray(self._graph.get_tensor(i)) for name, i in self._outputs.items()}


def _create_interpreter(content: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ModelNotInstalled(
            "The face networks need the package ai-edge-litert, which is not installed."
        ) from error
    graph: Any = Interpreter(model_content=content, num_threads=1)
    graph.allocate_tensors()
    return graph


@lru_cache(maxsize=8)
def _read_verified(model: ModelFile, folder: Path) -> bytes:
    path = folder / model.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelNotInstalled(
            f"The face network {model.name} is missing; reinstall the package.", model=model.name
        ) from error
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelNotInstalled(
            f"The face network {model.name} is damaged: its checksum differs; reinstall the package.",
            model=model.name,
        )
    return content


_thread_networks = threading.local()


def load_network(model: ModelFile, folder: Path | None = None) -> LiteRtNetwork:
    """
    Return the calling thread's instance of a network, loaded at first use.

    Args:
        model:  which network.
        folder: of its file; None: inside this package.

    Raises:
        ModelNotInstalled: the file or the ai-edge-litert package is missing, or the checksum differs.
    """
    key = model, folder or BUNDLED_FOLDER
    loaded: dict[tuple[ModelFile, Path], LiteRtNetwork] = _thread_networks.__dict__.setdefault("loaded", {})
    if key not in loaded:
        loaded[key] = LiteRtNetwork(_read_verified(*key))
    return loaded[key]
