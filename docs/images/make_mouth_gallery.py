"""
Write docs/images/mouths-*.webp: mouths that the viseme engine renders, a row per face and a column per sound.

    .venv/bin/python docs/images/make_mouth_gallery.py

All faces are made from the NASA photograph of tests/assets, which is in the public domain. Other engines are
left out: their weights are not part of the repository.
"""

import sys
import tempfile
from pathlib import Path

import cv2
from PIL import Image

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "benchmarks")]

QUALITY = 82


def main() -> None:
    """Render all faces that may be published with every speech of the benchmark."""
    import picture
    from face_cases import face_cases
    from mouth_sheet import SOUNDS, frame_of, mouth, sheet

    from musetalk_core.rendering.chunking import Chunk

    titles = ["source", *(title for title, _ in SOUNDS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        faces = [case for case in face_cases(folder) if case.may_be_published]
        scenes = [(case, picture.prepared(case, folder)) for case in faces]
        for speech in picture.speeches(folder):
            rows = []
            for case, scene in scenes:
                curves = picture.curves_of(speech)
                shown = [frame_of(phones, speech.phones, curves, picture.RATE) for _, phones in SOUNDS]
                pairs = [
                    picture.render(scene, curves, Chunk(0, frame, frame + 1), folder)[0][0] for frame in shown
                ]
                mouths = [mouth(pairs[0].source, pairs[0].landmarks)]
                rows.append((case.name, mouths + [mouth(pair.output, pair.landmarks) for pair in pairs]))
            pixels = cv2.cvtColor(sheet(rows, titles), cv2.COLOR_BGR2RGB)
            Image.fromarray(pixels).save(HERE / f"mouths-{speech.name}.webp", quality=QUALITY)


if __name__ == "__main__":
    main()
