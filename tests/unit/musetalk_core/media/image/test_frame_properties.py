"""Colors as the frame describes them: HDR and wide gamut converted, untagged ones guessed, others refused."""

import tempfile
from types import SimpleNamespace

import numpy as np
import pytest

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.image import colour_volume
from musetalk_core.media.image.frame_properties import check_supported, colour_space
from musetalk_core.media.probe import probe
from musetalk_core.media.video.frames import open_scan


def middle_colour(path):
    """The (3,) BGR value in the middle of the last frame, and the warnings."""
    with open_scan(path) as scan:
        *_, last = scan
    bgr = last.bgr()
    return bgr[bgr.shape[0] // 2, bgr.shape[1] // 2].astype(int), scan.info.warnings


def tagged(clips, name, colour, transfer, primaries="bt2020", matrix="bt2020nc"):
    tags = f"color_trc={transfer}:color_primaries={primaries}:colorspace={matrix}:range=tv"
    scale = f"scale=out_color_matrix={'bt2020' if matrix == 'bt2020nc' else matrix}:out_range=tv"
    return clips.flat(
        name, colour, f"{scale},format=yuv420p10le,setparams={tags}", "-c:v", "libx264", "-crf", "4"
    )


@pytest.mark.parametrize(
    ("transfer", "white", "black"),
    [("arib-std-b67", "0xBFBFBF", "0x000000"), ("smpte2084", "0x949494", "0x000000")],
    ids=["HLG", "PQ"],
)
def test_reference_white_and_black_of_hdr_are_white_and_black(clips, transfer, white, black):
    bright, warnings = middle_colour(tagged(clips, "w.mp4", white, transfer))
    assert bright.min() > 225 and np.ptp(bright) <= 3
    assert [text.split(":")[0] for text in warnings] == ["tone_mapped"]
    assert middle_colour(tagged(clips, "b.mp4", black, transfer))[0].max() <= 2


def test_hdr_keeps_the_saturation_of_the_scene(clips):
    dull, _ = middle_colour(tagged(clips, "s.mp4", "0x905050", "bt709", "bt709", "bt709"))
    for transfer in ("arib-std-b67", "smpte2084"):
        shown, _ = middle_colour(tagged(clips, f"{transfer}.mp4", "0x905050", transfer))
        assert np.ptp(shown) > 1.4 * np.ptp(dull), "taken as BT.709 it would be as dull as its numbers"


def test_each_run_of_a_process_has_a_temporary_folder_of_its_own(clips, tmp_path, monkeypatch):
    seen = []
    for run, transfer in enumerate(("arib-std-b67", "smpte2084", "arib-std-b67")):
        folder = tmp_path / f"run-{run}"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        seen.append(middle_colour(tagged(clips, f"r-{transfer}.mp4", "0x905050", transfer))[0])
        folder.rmdir()  # as a worker does after a run; fails if something was left
    assert (seen[0] == seen[2]).all()


def test_a_wide_gamut_is_converted(clips):
    # Red of BT.709, written in BT.2020: 0.627, 0.069, 0.016 of light.
    light = np.array([0.6274, 0.0691, 0.0164]) ** (1 / 2.4) * 255
    colour = "0x" + "".join(f"{round(value):02X}" for value in light)
    bgr, warnings = middle_colour(tagged(clips, "wide.mp4", colour, "bt2020-10"))
    assert bgr[2] > 245 and max(bgr[:2]) < 40
    assert warnings[0].startswith("tone_mapped: the wide-gamut")


def test_the_curves_are_those_of_the_standards():
    half = np.full((1, 3), 0.5)
    assert abs(colour_volume.pq_to_nits(half)[0, 0] - 92.2) < 0.2  # ST 2084
    assert abs(colour_volume.hlg_to_nits(np.full((1, 3), 0.75))[0, 0] - 203) < 1  # BT.2408
    assert abs(colour_volume.hlg_to_nits(np.ones((1, 3)))[0, 0] - 1000) < 1
    ramp = colour_volume.to_bt709(np.linspace(0, 1, 200)[:, None].repeat(3, 1), 16, 9)
    assert (np.diff(ramp[:, 0]) >= -1e-9).all() and ramp.max() <= 1


@pytest.mark.parametrize(
    ("size", "is_hd"),
    [("1280x544", True), ("1280x720", True), ("720x576", False), ("1024x576", False), ("854x480", False),
     ("720x1280", True), ("640x640", True)],
)  # fmt: skip
def test_an_untagged_matrix_is_guessed_from_width_and_height(clips, size, is_hd):
    matrix = "bt709" if is_hd else "bt601"
    path = clips.flat(
        f"{size}.mp4", "0x20C040", f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p",
        "-c:v", "libx264", "-crf", "4", "-x264-params", "colorprim=undef:transfer=undef:colormatrix=undef",
        size=size,
    )  # fmt: skip
    bgr, _ = middle_colour(path)
    np.testing.assert_allclose(bgr, [0x40, 0xC0, 0x20], atol=4)


def frame(**fields):
    plain = {
        "colorspace": 2,
        "color_trc": 2,
        "color_primaries": 2,
        "side_data": [],
        "width": 640,
        "height": 360,
    }
    form = SimpleNamespace(is_rgb=False, has_palette=False)
    return SimpleNamespace(**{**plain, "format": form, **fields})


class SideData(bytes):
    """Side data of a frame, with the name of its type."""

    type: SimpleNamespace


def side_data(name, data=b"\1\0\0\0"):
    entry = SideData(data)
    entry.type = SimpleNamespace(name=name)
    return [entry]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"side_data": side_data("DOVI_METADATA")}, "Dolby Vision"),
        ({"side_data": side_data("STEREO3D")}, "3D"),
        ({"side_data": side_data("SPHERICAL")}, "360-degree"),
        ({"colorspace": 14}, "ICtCp"),
        ({"colorspace": 8}, "YCgCo"),
    ],
)
def test_what_would_be_misread_is_refused(fields, words):
    with pytest.raises(MediaUnreadable, match=words):
        check_supported(frame(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"side_data": side_data("STEREO3D", b"\0\0\0\0")},
        {"side_data": side_data("DOVI_METADATA"), "color_trc": 16, "colorspace": 9},
    ],
)
def test_what_is_shown_right_is_accepted(fields):
    check_supported(frame(**fields))


@pytest.mark.parametrize("transfer", [8, 9, 10, 17])
def test_transfers_without_a_conversion_are_refused(transfer):
    with pytest.raises(MediaUnreadable, match="not supported"):
        colour_volume.needs_conversion(frame(color_trc=transfer))


def test_primaries_tell_the_matrix_where_it_is_not_tagged():
    assert colour_space(frame(color_primaries=9)) == 9
    assert colour_space(frame(color_primaries=1)) == 1
    assert colour_space(frame(color_primaries=1, colorspace=6)) == 5


def test_a_linear_video_is_refused_before_anything_is_rendered(clips):
    with pytest.raises(MediaUnreadable, match="linear"):
        probe(tagged(clips, "linear.mp4", "0x808080", "linear", "bt709", "bt709"))
