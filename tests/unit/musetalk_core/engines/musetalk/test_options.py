"""Versions bring what belongs to them, and refuse what does not."""

import pytest

from musetalk_core.engines.musetalk.options import PRESETS, MuseTalkEngineOptions, resolve_options
from musetalk_core.errors import InputError


def test_each_version_has_its_own_geometry():
    v15, v1 = (
        resolve_options(MuseTalkEngineOptions()),
        resolve_options(MuseTalkEngineOptions(version="v1", bbox_shift=-7)),
    )

    assert (v15.extra_margin, v15.bbox_shift, v15.mask_mode) == (10, 0, "jaw")
    assert (v1.extra_margin, v1.bbox_shift, v1.mask_mode) == (0, -7, "raw")
    assert len({preset.model for preset in PRESETS.values()}) == len(PRESETS)


def test_what_a_version_leaves_open_may_be_chosen():
    assert resolve_options(MuseTalkEngineOptions(extra_margin=0, mask_mode="neck")).extra_margin == 0
    assert resolve_options(MuseTalkEngineOptions(version="v1", mask_mode="jaw")).mask_mode == "jaw"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (MuseTalkEngineOptions(bbox_shift=3), "belongs to MuseTalk v1"),
        (MuseTalkEngineOptions(version="v1", extra_margin=10), "belongs to MuseTalk v1.5"),
        (MuseTalkEngineOptions(version="v2"), "no MuseTalk version"),
        (MuseTalkEngineOptions(extra_margin=41), "extra_margin must be between 0 and 40"),
        (MuseTalkEngineOptions(left_cheek_width=10), "left_cheek_width"),
        (MuseTalkEngineOptions(audio_padding_left=11), "audio_padding_left"),
        (MuseTalkEngineOptions(blur_share=0.5), "blur_share"),
        (MuseTalkEngineOptions(seed=-1), "seed"),
        (MuseTalkEngineOptions(mask_mode="chin"), "mask_mode must be one of raw, neck, jaw"),
        (MuseTalkEngineOptions(audio_window="other"), "audio_window"),
        (MuseTalkEngineOptions(latents="mean"), "latents"),
        (MuseTalkEngineOptions(face_rule="x"), "face_rule"),
        (MuseTalkEngineOptions(silence="x"), "silence"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        resolve_options(options)
