"""A talking clip of the viseme engine, rendered in memory: source, output and speech of each frame."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from musetalk_core.avatar import archive, prepare
from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.engine_registry import load_engine
from musetalk_core.faces.face_mesh import fit_mesh, region_of_mesh
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.quality.frame_pair import ChangedRegion, FramePair
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.compose import AnimatedStill, FacePaster, compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.speech.mouth_curves import mouth_curves

ASSETS = Path(__file__).resolve().parents[1] / "assets"
RATE = Fraction(25)
SEED = 3


@dataclass(frozen=True, eq=False)
class TalkingClip:
    """Frames from `start` on: sources with idle motion, outputs, crop box, meshes, and the whole speech."""

    scene: Scene
    start: int
    sources: list
    outputs: list
    box: object
    meshes: list
    curves: np.ndarray
    phones: list

    def pairs(self, outputs=None):
        """Return the frame pairs, with other outputs if given."""
        size = self.sources[0].width, self.sources[0].height
        region = ChangedRegion.from_box(self.box, *size)
        landmarks = self.scene.avatar.landmarks(0)
        return [
            FramePair(self.start + number, source, output, region, landmarks)
            for number, (source, output) in enumerate(zip(self.sources, outputs or self.outputs, strict=True))
        ]

    def rendered(self, curves, folder):
        """Return the outputs for other mouth curves."""
        return _render(self.scene, curves, self.start, len(self.outputs), folder)

    def changed(self, change):
        """Return the outputs with `change(number, crop, mesh in the crop)` applied to the float32 crops."""
        out = []
        corner = np.float32([self.box.x1, self.box.y1])
        for number, (picture, mesh) in enumerate(zip(self.outputs, self.meshes, strict=True)):
            crop = picture.bgr(self.box)
            new = np.clip(change(number, crop.astype(np.float32), mesh - corner), 0, 255)
            out.append(picture.with_crop(new.round().astype(np.uint8), crop, self.box))
        return out


def _render(scene, curves, start, frames, folder):
    engine, chunk = load_engine("viseme"), Chunk(0, start, start + frames)
    folder.mkdir()
    features = np.column_stack([curves, np.zeros(len(curves), np.float32)])  # the tongue rests
    render_chunk(scene, engine, Float32RowArray.from_blocks([features]), chunk, folder)
    return list(compose(scene, engine, CropReader.open(folder), chunk, SEED))


def make_talking_clip(folder, samples, phones, start=100, frames=60, scale=2):
    """Render the astronaut, cut out and enlarged, so that her face is 205 pixels high."""
    picture = cv2.imread(str(ASSETS / "astronaut.jpg"))[0:320, 60:380]
    still = folder / "face.png"
    cv2.imwrite(str(still), cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4))
    engine = load_engine("viseme")
    (folder / "avatar").mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(still, "0" * 64), engine, folder / "avatar")
    scene = Scene(archive.load_avatar(folder / "avatar"), still, RATE)
    curves = mouth_curves(samples, phones, start + frames, RATE)
    outputs = _render(scene, curves, start, frames, folder / "crops")
    with FrameReader(still, scene.avatar.index) as reader:
        source = next(iter(reader.read([0])))
    idle = AnimatedStill(scene, FacePaster(scene, engine, MaskCache()), SEED)
    sources = [idle.picture_at(source, None, float((start + n) / RATE)) for n in range(frames)]
    meshes, mesh = [], scene.avatar.landmarks(0)
    for output in outputs:
        mesh, _ = fit_mesh(output, region_of_mesh(mesh))
        meshes.append(mesh)
    return TalkingClip(scene, start, sources, outputs, scene.avatar.box(0), meshes, curves, phones)


def encoded_again(pictures, folder, crf=18):
    """Return the pictures after H.264 encoding and decoding."""
    import av

    path = folder / "again.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "fast"})
        stream.codec_context.thread_count = 1  # the result depends on the number of threads
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.i420, "yuv420p")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        return [Picture(frame.to_ndarray(format="yuv420p")) for frame in container.decode(video=0)]
