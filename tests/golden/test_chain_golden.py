"""From frames and sound to composited frames: whole runs of the original repeated, both versions."""

from fractions import Fraction

import numpy as np
import pytest
from golden_data import golden_frame, golden_sets, load

from musetalk_core.blending import composite, paste_square
from musetalk_core.compose import fitted
from musetalk_core.engine import Conditioning, FaceFrame
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.masks import MaskStyle, parsed_mask
from musetalk_core.engines.musetalk.options import Options
from musetalk_core.machine import Machine
from musetalk_core.media.index import VideoIndex
from musetalk_core.media.picture import Picture
from musetalk_core.media.timeline import source_slice
from musetalk_core.plates import PlateList
from musetalk_core.rows import RowArray
from musetalk_core.speech.samples import PcmArray
from musetalk_core.types import Box
from musetalk_core.weights.layout import Layout

FRAMES, RATE = 20, Fraction(25)
OPTIONS = {
    "v15": Options(version="v15", face_rule="upstream", silence="as_heard"),
    "v1": Options(version="v1", bbox_shift=-5, face_rule="upstream", silence="as_heard"),
}


class Bgr:
    """A picture whose pixels are exactly a BGR image: 4:2:0 would change them before the engine sees them."""

    def __init__(self, image):
        self.image, (self.height, self.width) = image, image.shape[:2]

    def window(self, area):
        inside = area.clipped(self.width, self.height)
        out = np.zeros((area.size[1], area.size[0], 3), np.uint8)
        out[inside.within(area).slices()] = self.image[inside.slices()]
        return out


@pytest.fixture(scope="module")
def run(golden_models, tmp_path_factory):
    """Everything the engine makes of the golden clip, once per set of vectors and version."""
    root = golden_models("unet-v1", "unet-v15", "vae", "whisper", "bisenet")
    known = {}

    def make(folder, version):
        if (folder, version) not in known:
            spare = tmp_path_factory.mktemp("ledger") / "spare.json"
            known[folder, version] = _run(folder, version, Layout(root, spare))
        return known[folder, version]

    return make


def _run(folder, version, layout):
    engine = MuseTalkEngine(OPTIONS[version], Machine(layout, device="cpu", landmarks="mesh"))
    chain, audio = load(folder, "chain"), load(folder, "audio")
    margin = int(chain["margin"]) if version == "v15" else 0
    faces = []
    for index in range(12):
        x1, y1, x2, y2 = chain[f"boxes_{version}"][index].tolist()
        image = golden_frame(folder, index)
        box = Box(x1, y1, x2, min(y2 + margin, image.shape[0]))
        faces.append(
            FaceFrame(index, 0, box, image[box.slices()], np.zeros((468, 2), np.float32), Bgr(image))
        )
    kept = list(engine.encode_faces(iter(faces)))
    conditioning = Conditioning(np.zeros((12, 0), np.float32), {}, PlateList([one.plate for one in kept]))
    start, count = chain["clip_start_n"].tolist()
    speech = np.tile(audio["speech"], 4)[start : start + count].astype(np.float32) / 32768
    heard = RowArray.collected(engine.encode_speech(PcmArray(speech), FRAMES, RATE, None))
    sources = chain["source_index"].tolist()
    features = engine.features(heard, 0, FRAMES, RATE)
    crops = engine.render([faces[source] for source in sources], conditioning, features)
    return engine, faces, conditioning, sources, crops


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("version", ["v15", "v1"])
def test_faces_of_a_whole_run(folder, version, run):
    *_, crops = run(folder, version)

    expected = load(folder, "chain")[f"faces_{version}_s4"]

    found = np.stack(crops)[: len(expected), ::4, ::4].astype(int)

    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.002


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("version", ["v15", "v1"])
def test_composited_frames_of_a_whole_run(folder, version, run):
    engine, faces, conditioning, sources, crops = run(folder, version)
    arrays = load(folder, "chain" if version == "v15" else "chain_more")

    seen = 0
    for number, source in enumerate(sources):
        delta = arrays.get(f"{version}/out_delta_{number:02d}")
        if delta is None:
            continue
        seen += 1
        found = _composited(folder, faces[source], crops[number], engine.mask(faces[source], conditioning))
        expected = golden_frame(folder, source) + delta
        assert (np.abs(found.astype(int) - expected) <= 2).mean() >= 0.998
    assert seen >= 4


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("version", ["v15", "v1"])
def test_composited_frames_with_the_originals_classes(folder, version, run):
    _, faces, _, sources, crops = run(folder, version)
    arrays = load(folder, "chain" if version == "v15" else "chain_more")
    style = MaskStyle("jaw" if version == "v15" else "raw")

    for number, source in enumerate(sources):
        delta = arrays.get(f"{version}/out_delta_{number:02d}")
        if delta is None or source >= len(arrays[f"{version}/labels"]):
            continue
        placed = parsed_mask(arrays[f"{version}/labels"][source], faces[source].box, style)
        found = _composited(folder, faces[source], crops[number], placed)
        difference = np.abs(found.astype(int) - (golden_frame(folder, source) + delta))
        assert difference.max() <= 1


@pytest.mark.parametrize("folder", golden_sets())
def test_composited_frames_of_the_live_program(folder, run):
    _, faces, _, sources, crops = run(folder, "v15")
    live, chain = load(folder, "chain_more"), load(folder, "chain")
    numbers = [n for n in range(FRAMES) if f"live_v15/out_delta_{n:02d}" in live]

    assert numbers
    for number in numbers:
        source = sources[number]
        if source >= len(chain["v15/labels"]):
            continue
        placed = parsed_mask(chain["v15/labels"][source], faces[source].box, MaskStyle("jaw", blur_share=0.1))
        found = _composited(folder, faces[source], crops[number], placed)
        difference = np.abs(
            found.astype(int) - (golden_frame(folder, source) + live[f"live_v15/out_delta_{number:02d}"])
        )
        assert difference.max() <= 1


def _composited(folder, face, crop, placed):
    frame = golden_frame(folder, face.index)
    mask, area = placed
    whole = Box(0, 0, frame.shape[1], frame.shape[0])
    return composite(frame, whole, fitted(crop, face.box), face.box, mask, area)


@pytest.mark.parametrize("folder", golden_sets())
def test_frames_are_played_in_the_originals_order(folder):
    orders = {name: order for name, order in load(folder, "chain").items() if name.startswith("order_")}

    assert orders
    for name, expected in orders.items():
        _, frames, _, outputs = name.split("_")
        assert source_slice(0, int(outputs), RATE, clip_of(int(frames))).tolist() == expected.tolist()


def clip_of(frames):
    return VideoIndex(
        pts=np.arange(frames),
        keys=np.ones(frames, bool),
        time_base=1 / RATE,
        duration=frames,
        width=256,
        height=240,
        rate=RATE,
        is_seekable=True,
        is_still=False,
    )


def test_the_square_that_is_parsed_is_the_square_of_the_mask():
    image = np.arange(240 * 256 * 3, dtype=np.uint32).reshape(240, 256, 3).astype(np.uint8)
    square = paste_square(Box(150, 120, 250, 235))

    window = Picture.from_bgr(image).window(square)

    assert window.shape[:2] == (square.y2 - square.y1,) * 2
    assert not window[: max(0, -square.y1)].any()
    assert not window[240 - square.y1 :].any()
