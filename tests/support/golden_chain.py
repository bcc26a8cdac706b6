"""A whole run of the original repeated by our engine: the golden clip and sound, to composited frames."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from golden_data import golden_frame, load

from musetalk_core.compositing.blending import composite
from musetalk_core.engine_protocol import Conditioning, FaceFrame
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.formats.frame_blobs import FrameBlobList
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.rendering.compose import resize_to_box
from musetalk_core.types import Box

FRAMES, RATE = 20, Fraction(25)
SOURCES = 12
OPTIONS = {
    "v15": MuseTalkEngineOptions(version="v15", face_rule="upstream", silence="as_heard"),
    "v1": MuseTalkEngineOptions(version="v1", bbox_shift=-5, face_rule="upstream", silence="as_heard"),
}


class Bgr:
    """A picture whose pixels are exactly a BGR image: 4:2:0 would change them before the engine sees them."""

    def __init__(self, image):
        self.image, (self.height, self.width) = image, image.shape[:2]

    def crop(self, area):
        inside = area.clip(self.width, self.height)
        out = np.zeros((area.size[1], area.size[0], 3), np.uint8)
        out[inside.relative_to(area).slices()] = self.image[inside.slices()]
        return out


@dataclass(frozen=True)
class Run:
    """Output of the engine: `crops[n]` of output frame n, whose source frame is `sources[n]`, if rendered."""

    folder: object
    engine: MuseTalkEngine
    faces: dict
    conditioning: Conditioning
    sources: list
    crops: dict

    def composited(self, number, placed=None):
        """The finished output frame; `placed` takes the place of the engine's own mask."""
        face = self.faces[self.sources[number]]
        frame = golden_frame(self.folder, face.index)
        mask, area = placed or self.engine.mask(face, self.conditioning)
        whole = Box(0, 0, frame.shape[1], frame.shape[0])
        return composite(frame, whole, resize_to_box(self.crops[number], face.box), face.box, mask, area)


def run_chain(folder, version, machine, numbers=range(FRAMES)):
    """
    Prepare, hear and render the golden clip as one version on a machine with the stand-in weights.

    Args:
        numbers: output frames to render.
    """
    engine = MuseTalkEngine(OPTIONS[version], machine)
    chain, audio = load(folder, "chain"), load(folder, "audio")
    margin = int(chain["margin"]) if version == "v15" else 0
    sources = chain["source_index"].tolist()
    faces = {}
    for index in sorted({sources[number] for number in numbers}):
        x1, y1, x2, y2 = chain[f"boxes_{version}"][index].tolist()
        image = golden_frame(folder, index)
        box = Box(x1, y1, x2, min(y2 + margin, image.shape[0]))
        faces[index] = FaceFrame(
            index, 0, box, image[box.slices()], np.zeros((468, 2), np.float32), Bgr(image)
        )
    blobs = [b""] * SOURCES
    for index, encoded in zip(faces, engine.encode_faces(iter(faces.values())), strict=True):
        blobs[index] = encoded.blob
    conditioning = Conditioning(np.zeros((SOURCES, 0), np.float32), {}, FrameBlobList(blobs))
    start, count = chain["clip_start_n"].tolist()
    speech = np.tile(audio["speech"], 4)[start : start + count].astype(np.float32) / 32768
    heard = Float32RowArray.from_blocks(engine.encode_audio(PcmArray(speech), FRAMES, RATE, None))
    features = engine.audio_features(heard, 0, FRAMES, RATE)[list(numbers)]
    crops = engine.render([faces[sources[number]] for number in numbers], conditioning, features)
    return Run(folder, engine, faces, conditioning, sources, dict(zip(numbers, crops, strict=True)))


def compared_frames(folder, version):
    """Numbers of the output frames of which the set holds a crop or a composite."""
    crops = range(len(load(folder, "chain")[f"faces_{version}_s4"]))
    live = {n for n in range(FRAMES) if f"live_{version}/out_delta_{n:02d}" in load(folder, "chain_more")}
    return sorted({*crops, *live, *expected_frames(folder, version)})


def expected_frames(folder, version):
    """Output frame -> what the original made of it, (240, 256, 3) int, for those that are stored."""
    arrays, chain = load(folder, "chain" if version == "v15" else "chain_more"), load(folder, "chain")
    sources = chain["source_index"].tolist()
    known = {n: arrays.get(f"{version}/out_delta_{n:02d}") for n in range(FRAMES)}
    return {n: golden_frame(folder, sources[n]) + delta for n, delta in known.items() if delta is not None}
