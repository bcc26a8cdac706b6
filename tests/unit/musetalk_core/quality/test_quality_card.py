"""Deliberate defects: each lowers its own figure below the limit; good material and its source pass."""

from itertools import islice

import cv2
import numpy as np
import pytest
from talking_clip import RATE, encoded_again, make_talking_clip

from musetalk_core.faces.mesh_topology import LOWER_LIP_INNER, UPPER_LIP_INNER, face_height
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.video.scan import open_scan
from musetalk_core.quality.figures import FIGURES
from musetalk_core.quality.frame_pair import ChangedRegion, FramePair
from musetalk_core.quality.lip_movement import SpeechReference
from musetalk_core.quality.meter import QualityMeter
from musetalk_core.speech.alignment.align import find_phones
from musetalk_core.speech.mouth_curves import mouth_curves
from musetalk_core.speech.phones import Phone
from musetalk_core.types import Box


@pytest.fixture(scope="session")
def clip(reading, reading_text, tmp_path_factory):
    phones = list(find_phones(reading, reading_text)[0])
    return make_talking_clip(tmp_path_factory.mktemp("clip"), reading, phones)


@pytest.fixture(scope="session")
def speech(clip):
    return SpeechReference(clip.curves, clip.phones)


def metered(clip, outputs=None):
    meter = QualityMeter(len(clip.curves), RATE)
    meter.add_all(clip.pairs(outputs))
    return meter


@pytest.fixture(scope="session")
def good_meter(clip):
    return metered(clip)


@pytest.fixture(scope="session")
def good(good_meter, speech):
    return good_meter.card(speech)


def names(card):
    return {reading.name for reading in card.defects()}


def assert_defect(figure, card, good):
    """The figure has become worse, and is beyond its limit, which it was not."""
    assert good[figure].grade > card[figure].grade
    assert card[figure].is_defect and not good[figure].is_defect
    assert card.score < 0.5


def feathered(change):
    """Blend a changed crop into the old one, so that it has no seam."""

    def blended(number, crop, mesh):
        margin = crop.shape[0] // 8
        weight = np.zeros(crop.shape[:2], np.float32)
        weight[margin:-margin, margin:-margin] = 1
        weight = cv2.GaussianBlur(weight, (0, 0), margin / 2.5)[..., None]
        return weight * change(number, crop, mesh) + (1 - weight) * crop

    return blended


def blur(number, crop, mesh):
    return cv2.GaussianBlur(crop, (0, 0), 0.012 * face_height(mesh))


def brighter(number, crop, mesh):
    return crop + 8


def moved(number, crop, mesh):
    step = 0.025 * face_height(mesh)
    return cv2.warpAffine(
        crop, np.float32([[1, 0, step], [0, 1, step]]), crop.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
    )


def trembling(number, crop, mesh):
    step = 0.008 * face_height(mesh) * (number % 2)
    return cv2.warpAffine(
        crop, np.float32([[1, 0, step], [0, 1, 0]]), crop.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
    )


def alternating(number, crop, mesh):
    return crop + (2 if number % 2 else -2)


def redder(number, crop, mesh):
    return crop * np.float32([0.95, 1, 1.05])


def torn_corners(number, crop, mesh):
    """Dark hooks of an old, wider mouth."""
    unit = face_height(mesh)
    for point, side in ((61, -1), (291, 1)):
        start, end = (mesh[point] + side * unit * np.float32(by) for by in ((0.015, 0), (0.05, -0.02)))
        ends = [tuple(int(v) for v in place) for place in (start, end)]
        crop = cv2.line(crop.copy(), *ends, (40, 40, 70), round(0.015 * unit), cv2.LINE_AA)
    return crop


def flat_teeth(number, crop, mesh):
    """One light bar."""
    upper, lower = mesh[UPPER_LIP_INNER], mesh[LOWER_LIP_INNER]
    bar = np.concatenate([upper, (0.3 * upper + 0.7 * lower)[::-1]])
    return cv2.fillPoly(crop.copy(), [bar.round().astype(np.int32)], (190, 195, 200), cv2.LINE_AA)


@pytest.mark.parametrize(
    ("figure", "change"),
    [
        ("sharpness_fine", feathered(blur)),
        ("seam", brighter),
        ("offset", feathered(moved)),
        ("jitter", feathered(trembling)),
        ("flicker", feathered(alternating)),
        ("colour", feathered(redder)),
        ("corners", torn_corners),
        ("teeth", flat_teeth),
    ],
)
def test_a_defect_of_the_picture_crosses_its_limit(figure, change, clip, speech, good):
    assert_defect(figure, metered(clip, clip.changed(change)).card(speech), good)


def other_rendering(clip, curves, tmp_path, speech):
    return metered(clip, clip.rendered(np.float32(curves), tmp_path / "other")).card(speech)


def test_a_frozen_mouth(clip, speech, good, tmp_path):
    card = other_rendering(clip, np.full_like(clip.curves, 0.3) * [1, 0, 0], tmp_path, speech)

    assert_defect("amplitude", card, good)
    assert_defect("correlation", card, good)
    assert card["amplitude"].value < 0.2


def test_half_the_amplitude(clip, speech, good, tmp_path):
    """Less than half: small openings gain most, see `_GAP_EXPONENT` of the engine."""
    card = other_rendering(clip, clip.curves * [0.3, 1, 1], tmp_path, speech)

    assert_defect("amplitude", card, good)
    assert card["amplitude"].value == pytest.approx(0.41 * good["amplitude"].value, rel=0.1)
    assert not card["correlation"].is_defect


def test_three_frames_late(clip, speech, good, tmp_path):
    card = other_rendering(clip, np.roll(clip.curves, 3, axis=0), tmp_path, speech)

    assert_defect("lag", card, good)
    assert card["lag"].value == pytest.approx(120)
    assert not card["correlation"].is_defect


def test_wrong_speech(clip, good, good_meter):
    wrong = SpeechReference(np.roll(clip.curves, 60, axis=0))

    assert_defect("correlation", good_meter.card(wrong), good)


def test_correlation_with_loudness_is_shown_and_not_judged(clip, good_meter, reading):
    curves = mouth_curves(reading, None, len(clip.curves), RATE)
    card = good_meter.card(SpeechReference(curves, follows_loudness=True))

    assert 0.2 < card["correlation"].value < 0.6
    assert card["correlation"].grade is card["lag"].grade is None
    assert card["rounding"].value is card["bilabials"].value is None
    assert not card.defects("movement")


def test_a_mouth_that_opens_on_noise(clip, good, good_meter):
    noise = [Phone(0.0, float(len(clip.curves) / RATE), "SIL")]
    card = good_meter.card(SpeechReference(np.zeros_like(clip.curves), noise))

    assert card["pauses"].is_defect
    assert card.score < 0.5
    assert card["correlation"].value is None, "silence asks for no movement"
    assert good["pauses"].value is None, "the measured part of the speech has no pause"


def test_a_mouth_that_stays_shut_on_noise_passes(clip, tmp_path):
    outputs = clip.rendered(np.zeros_like(clip.curves), tmp_path / "shut")
    noise = [Phone(0.0, float(len(clip.curves) / RATE), "SIL")]
    card = metered(clip, outputs).card(SpeechReference(np.zeros_like(clip.curves), noise))

    assert card["pauses"].value == 1


def test_pixels_that_change_outside_the_region(clip, speech, good):
    lighter = [Picture(np.clip(p.i420.astype(np.int16) + 3, 0, 255).astype(np.uint8)) for p in clip.outputs]

    assert_defect("outside", metered(clip, lighter).card(speech), good)


def test_good_material_passes(good):
    assert not names(good)
    assert good.with_face == good.frames == 60


def test_an_untouched_source_passes_also_when_encoded(clip, tmp_path):
    for outputs in (clip.sources, encoded_again(clip.sources, tmp_path)):
        card = metered(clip, outputs).card()

        assert not card.defects()
        assert {r.name for r in card.readings if r.value is not None} >= {"seam", "flicker", "sharpness_fine"}


def test_figures_hardly_change_when_the_video_is_encoded_again(clip, speech, good, tmp_path):
    """Within 5 % of the value, or of the way from good values to the limit if that is longer."""
    card = metered(clip, encoded_again(clip.outputs, tmp_path)).card(speech)

    assert names(card) == names(good)
    for before, after in zip(good.readings, card.readings, strict=True):
        if before.value is not None:
            figure = FIGURES[before.name]
            # values better than good are equally good: encoding noise moves seams from 0 to 0.6 levels
            ideal = figure.good
            values = [
                max(v, ideal) if (figure.limit or 0) > ideal else min(v, ideal)
                for v in (before.value, after.value)
            ]
            room = abs((figure.limit or ideal) - ideal)
            assert abs(values[1] - values[0]) <= max(0.05 * abs(values[0]), 0.05 * room), before.name


def test_the_strip_shows_source_above_output(good):
    assert good.strip.shape[1] % 8 == 0
    top, bottom = np.split(good.strip, 2)
    assert np.abs(top.astype(int) - bottom).max() > 40


def test_a_video_without_a_face_has_no_score(clip):
    wall = Picture.from_bgr(np.full((64, 64, 3), 90, np.uint8))
    pairs = [type(p)(p.index, wall, wall, p.region, None) for p in clip.pairs()[:6]]
    meter = QualityMeter(len(clip.curves), RATE)
    meter.add_all(pairs)
    card = meter.card(SpeechReference(clip.curves, clip.phones))

    assert card.score is None and card.with_face == 0 and card.frames == 6 and card.strip is None


def test_a_real_clip_passes_as_its_own_output(samples, tmp_path):
    """Every figure of the picture, of a moving head with a face of 134 pixels."""
    with open_scan(samples / "sun.mp4") as scan:
        pictures = list(islice(scan, 30))
    box = Box(208, 216, 344, 352)
    region = ChangedRegion.from_box(box, pictures[0].width, pictures[0].height)
    for outputs in (pictures, encoded_again(pictures, tmp_path)):
        meter = QualityMeter(len(pictures), RATE)
        meter.add_all(
            FramePair(number, source, output, region)
            for number, (source, output) in enumerate(zip(pictures, outputs, strict=True))
        )
        card = meter.card()

        assert card.with_face == 30 and not card.defects()
