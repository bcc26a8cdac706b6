"""
The picture of the viseme engine on eight faces and three speeches: `picture.py [FOLDER [NAME|VIDEO ...]]`.

Prints the figures of the quality card over the whole speech, and writes contact sheets of mouths to FOLDER.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from face_cases import FaceCase, face_cases
from media import SPEECH
from mouth_sheet import SOUNDS, frame_of, mouth, sheet

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts
from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.engine_registry import load_engine
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.formats.pcm import PcmArray, PcmFile
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.quality.frame_pair import ChangedRegion, FramePair
from musetalk_core.quality.lip_movement import SpeechReference
from musetalk_core.quality.meter import QualityMeter
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.compose import AnimatedStill, FacePaster, compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.speech.alignment.align import find_phones
from musetalk_core.speech.mouth_curves import mouth_curves
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.tts.starter_voice import synthesize

RATE = Fraction(25)
SEED = 3
VISEME = load_engine("viseme")
TEXTS = {
    "voice": "My mother bought five big blue balloons."
    " Every move of my lips comes from the sound of my voice.",
    "vowels": "We all know you will move the moon; she sees three green leaves,"
    " and that father laughs with Lee.",
}
SHOWN = ("aperture", "amplitude", "rounding", "correlation", "bilabials", "pauses", "sharpness_fine",
         "sharpness_coarse", "flicker", "colour", "corners", "teeth", "jitter")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Speech:
    """A speech: name, samples and phones."""

    name: str
    samples: PcmArray | PcmFile
    phones: list[Phone]


def speeches(folder):
    """Return the recorded reading, aligned to its text, and two synthesized ones with exact phones."""
    decode_speech(SPEECH, folder / "reading.f32")
    samples = PcmFile(folder / "reading.f32")
    found = [
        Speech("reading", samples, list(find_phones(samples, SPEECH.with_suffix(".txt").read_text())[0]))
    ]
    for name, text in TEXTS.items():
        spoken = synthesize(text)
        write_wav(folder / f"{name}.wav", spoken.samples, spoken.rate)
        decode_speech(folder / f"{name}.wav", folder / f"{name}.f32")
        found.append(Speech(name, PcmFile(folder / f"{name}.f32"), spoken.phones))
    return found


def prepared(face: FaceCase, folder, engine=VISEME):
    """Return the scene of a face, prepared for an engine."""
    place = folder / f"avatar-{face.name}-{engine.name}"
    place.mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(face.path, "0" * 64), engine, place)
    avatar = encode_parts(
        archive.load_avatar(place), engine, face.path, place.with_name(f"{place.name}-parts")
    )
    return Scene(avatar, face.path, RATE)


def curves_of(speech):
    """Return (T, 4) float32, the mouth curves of a speech, which the engine `viseme` is given."""
    [curves] = VISEME.encode_audio(speech.samples, _frames_of(speech), RATE, speech.phones)
    return curves


def features_of(speech, engine):
    """Return the audio features of a speech that an engine is given."""
    blocks = engine.encode_audio(speech.samples, _frames_of(speech), RATE, speech.phones)
    return Float32RowArray.from_blocks(list(blocks))


def _frames_of(speech):
    return int(speech.samples.count / 16000 * RATE)


def talk(scene, speech, folder):
    """Render a speech; return its curves, the frame pairs, and CPU seconds of rendering per frame."""
    curves = curves_of(speech)
    features = Float32RowArray.from_blocks([curves])
    pairs, seconds = render(scene, features, Chunk(0, 0, len(curves)), folder)
    return curves, pairs, seconds / len(curves)


def render(scene, features, chunk, folder, engine=VISEME):
    """Render the frames of a chunk; return the frame pairs, and CPU seconds of rendering."""
    place = Path(tempfile.mkdtemp(dir=folder))
    started = time.process_time()
    render_chunk(scene, engine, features, chunk, place, threads=1)
    seconds = time.process_time() - started
    avatar = scene.avatar
    idle = (
        AnimatedStill(scene, FacePaster(scene, engine, MaskCache()), SEED)
        if avatar.manifest.is_still
        else None
    )
    pairs = []
    crops = CropReader.open(place)
    with FrameReader(scene.source, avatar.index) as reader:
        sources = crops.sources.tolist()
        frames = zip(reader.read(sources), compose(scene, engine, crops, chunk, SEED), strict=True)
        for source, (number, (picture, output)) in zip(sources, enumerate(frames, chunk.start), strict=True):
            shown = picture if idle is None else idle.picture_at(picture, None, float(number / RATE))
            box = avatar.box(source)
            region = ChangedRegion.from_box(box, picture.width, picture.height)
            pairs.append(FramePair(number, shown, output, region, avatar.landmarks(source)))
    return pairs, seconds


def measure(speech, curves, pairs):
    """Return the quality card of the whole speech."""
    meter = QualityMeter(len(pairs), RATE)
    meter.add_all(pairs)
    truth = mouth_curves(speech.samples, speech.phones, len(curves), RATE)
    return meter.card(SpeechReference(truth, speech.phones))


def main(target=None, names=()):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = Path(target) if target else folder
        target.mkdir(exist_ok=True, parents=True)
        told = speeches(folder)
        rows = {speech.name: [] for speech in told}
        print("face", "speech", *SHOWN, "ms", sep="\t")
        for face in [*face_cases(folder, names), *_videos(names)]:
            scene = prepared(face, folder)
            for speech in told:
                curves, pairs, cost = talk(scene, speech, folder)
                card = measure(speech, curves, pairs)
                values = [card[figure].value for figure in SHOWN]
                marks = ["!" if card[figure].is_defect else "" for figure in SHOWN]
                shown = [
                    "-" if v is None else f"{v:.3f}{mark}" for v, mark in zip(values, marks, strict=True)
                ]
                print(face.name, speech.name, *shown, f"{cost * 1000:.1f}", sep="\t", flush=True)
                at = [frame_of(phones, speech.phones, curves, RATE) for _, phones in SOUNDS]
                mouths = [mouth(pairs[at[0]].source, pairs[at[0]].landmarks)]
                mouths += [mouth(pairs[k].output, pairs[k].landmarks) for k in at]
                rows[speech.name].append((face.name, mouths))
        titles = ["source", *(title for title, _ in SOUNDS)]
        for speech_name, lines in rows.items():
            cv2.imwrite(str(target / f"mouths-{speech_name}.png"), sheet(lines, titles))
        print(f"contact sheets: {target}" if target != folder else "")


def _videos(names):
    """Return the videos among the names."""
    return [FaceCase(Path(n).stem, "a video", Path(n), False) for n in names if Path(n).suffix]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(arguments[0] if arguments else None, arguments[1:])
