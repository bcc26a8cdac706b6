"""Versions bring what belongs to them, and refuse what does not."""

import pytest

from musetalk_core.engines.musetalk.options import PRESETS, Options, settled
from musetalk_core.errors import InputError


def test_each_version_has_its_own_geometry():
    v15, v1 = settled(Options()), settled(Options(version="v1", bbox_shift=-7))

    assert (v15.extra_margin, v15.bbox_shift, v15.mask_mode) == (10, 0, "jaw")
    assert (v1.extra_margin, v1.bbox_shift, v1.mask_mode) == (0, -7, "raw")
    assert len({preset.model for preset in PRESETS.values()}) == len(PRESETS)


def test_what_a_version_leaves_open_may_be_chosen():
    assert settled(Options(extra_margin=0, mask_mode="neck")).extra_margin == 0
    assert settled(Options(version="v1", mask_mode="jaw")).mask_mode == "jaw"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(bbox_shift=3), "belongs to MuseTalk v1"),
        (Options(version="v1", extra_margin=10), "belongs to MuseTalk v1.5"),
        (Options(version="v2"), "no MuseTalk version"),
        (Options(extra_margin=41), "extra_margin must be between 0 and 40"),
        (Options(left_cheek_width=10), "left_cheek_width"),
        (Options(audio_padding_left=11), "audio_padding_left"),
        (Options(blur_share=0.5), "blur_share"),
        (Options(seed=-1), "seed"),
        (Options(mask_mode="chin"), "mask_mode must be one of raw, neck, jaw"),
        (Options(audio_window="other"), "audio_window"),
        (Options(latents="mean"), "latents"),
        (Options(face_rule="x"), "face_rule"),
        (Options(silence="x"), "silence"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        settled(options)
