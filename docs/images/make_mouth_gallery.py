"""
Write docs/images/mouths-*.webp: rendered mouths, a row per face and engine and a column per sound.

    .venv/bin/python docs/images/make_mouth_gallery.py

All faces are made from the NASA photograph of tests/assets, which is in the public domain. The engine
`musetalk` has rows where its weights are installed; they are not part of the repository.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
from PIL import Image

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "benchmarks")]

import picture  # noqa: E402  found by the line above, as are the other modules of tests
from face_cases import FaceCase, face_cases  # noqa: E402
from mouth_sheet import SOUNDS, frame_of, mouth, sheet  # noqa: E402

from musetalk_core.engine_protocol import Engine  # noqa: E402
from musetalk_core.engine_registry import load_engine  # noqa: E402
from musetalk_core.errors import ModelNotInstalled  # noqa: E402
from musetalk_core.rendering.chunking import Chunk  # noqa: E402
from musetalk_core.types import Image as Pixels  # noqa: E402
from tasks.models.engines import runtime_config  # noqa: E402

QUALITY = 82


def engines() -> list[Engine]:
    """Return the engines that are installed, `viseme` first."""
    found = [load_engine("viseme")]
    try:
        found.append(load_engine("musetalk", runtime=runtime_config()))
    except ModelNotInstalled as missing:
        print(f"without the engine musetalk: {missing}")
    return found


def main() -> None:
    """Render all faces that may be published with every speech of the benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        faces = [case for case in face_cases(folder) if case.may_be_published]
        for speech, pixels in galleries(faces, picture.speeches(folder), engines(), folder):
            Image.fromarray(pixels).save(HERE / f"mouths-{speech.name}.webp", quality=QUALITY)


def galleries(
    faces: Sequence[FaceCase], speeches: Sequence[picture.Speech], engines: Sequence[Engine], folder: Path
) -> Iterator[tuple[picture.Speech, Pixels]]:
    """Yield each speech with its sheet of mouths, (h, w, 3) uint8 RGB."""
    titles = ["source", *(title for title, _ in SOUNDS)]
    scenes = [(case, engine, picture.prepared(case, folder, engine)) for case in faces for engine in engines]
    for speech in speeches:
        curves, rows = picture.curves_of(speech), []
        shown = [frame_of(phones, speech.phones, curves, picture.RATE) for _, phones in SOUNDS]
        features = {engine.name: picture.features_of(speech, engine) for engine in engines}
        for case, engine, scene in scenes:
            pairs = [
                picture.render(scene, features[engine.name], Chunk(0, frame, frame + 1), folder, engine)[0][0]
                for frame in shown
            ]
            mouths = [mouth(pairs[0].source, pairs[0].landmarks)]
            mouths += [mouth(pair.output, pair.landmarks) for pair in pairs]
            rows.append((case.name if len(engines) == 1 else f"{case.name}, {engine.name}", mouths))
        yield speech, cv2.cvtColor(sheet(rows, titles), cv2.COLOR_BGR2RGB)


if __name__ == "__main__":
    main()
