"""From frames and sound to composited frames: whole runs of the original repeated, both versions."""

import numpy as np
import pytest
from golden_chain import FRAMES, RATE, compared_frames, expected_frames, run_chain
from golden_data import golden_frame, golden_sets, load

from musetalk_core.compositing.blending import blend_square
from musetalk_core.engines.musetalk.parsing_mask import MaskStyle, mask_from_classes
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.media.video.timeline import source_frames_between
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.types import Box

everywhere = pytest.mark.parametrize("folder", golden_sets())
both_versions = pytest.mark.parametrize("version", ["v15", "v1"])


@pytest.fixture(scope="module")
def run(device, golden_models, tmp_path_factory):
    """Render the compared frames of the golden clip, once per set of vectors and version."""
    root = golden_models("unet-v1", "unet-v15", "vae", "whisper", "bisenet")
    known = {}

    def make(folder, version):
        if (folder, version) not in known:
            spare = tmp_path_factory.mktemp("ledger") / "spare.json"
            place = device.torch_device.type
            machine = RuntimeConfig(
                LocalModels(root, spare), device=place, precision="fp32", landmarks="mesh"
            )
            numbers = compared_frames(folder, version)
            known[folder, version] = run_chain(folder, version, machine, numbers)
        return known[folder, version]

    return make


@everywhere
@both_versions
def test_faces_of_a_whole_run(folder, version, run):
    expected = load(folder, "chain")[f"faces_{version}_s4"]

    crops = run(folder, version).crops
    found = np.stack([crops[number][::4, ::4] for number in range(len(expected))]).astype(int)

    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.002


@everywhere
@both_versions
def test_composited_frames_of_a_whole_run(folder, version, run):
    frames = expected_frames(folder, version)

    assert len(frames) >= 4
    for number, expected in frames.items():
        found = run(folder, version).composited(number)
        assert (np.abs(found.astype(int) - expected) <= 2).mean() >= 0.998


@everywhere
@both_versions
def test_composited_frames_with_the_originals_classes(folder, version, run):
    made = run(folder, version)
    classes = load(folder, "chain" if version == "v15" else "chain_more")[f"{version}/labels"]
    style = MaskStyle("jaw" if version == "v15" else "raw")

    for number, expected in expected_frames(folder, version).items():
        source = made.sources[number]
        if source >= len(classes):
            continue
        placed = mask_from_classes(classes[source], made.faces[source].box, style)
        assert np.abs(made.composited(number, placed).astype(int) - expected).max() <= 1


@everywhere
def test_composited_frames_of_the_live_program(folder, run):
    made = run(folder, "v15")
    live, chain = load(folder, "chain_more"), load(folder, "chain")
    numbers = [n for n in range(FRAMES) if f"live_v15/out_delta_{n:02d}" in live]

    assert numbers
    for number in numbers:
        source = made.sources[number]
        if source >= len(chain["v15/labels"]):
            continue
        style = MaskStyle("jaw", blur_share=0.1)
        found = made.composited(
            number, mask_from_classes(chain["v15/labels"][source], made.faces[source].box, style)
        )
        expected = golden_frame(folder, source) + live[f"live_v15/out_delta_{number:02d}"]
        assert np.abs(found.astype(int) - expected).max() <= 1


@everywhere
def test_frames_are_played_in_the_originals_order(folder):
    orders = {name: order for name, order in load(folder, "chain").items() if name.startswith("order_")}

    assert orders
    for name, expected in orders.items():
        _, frames, _, outputs = name.split("_")
        assert (
            source_frames_between(0, int(outputs), RATE, clip_of(int(frames))).tolist() == expected.tolist()
        )


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
    square = blend_square(Box(150, 120, 250, 235))

    window = Picture.from_bgr(image).crop(square)

    assert window.shape[:2] == (square.y2 - square.y1,) * 2
    assert not window[: max(0, -square.y1)].any()
    assert not window[240 - square.y1 :].any()
