"""The decoders foreign files may reach: common ones, so that rarely tested code stays out of reach."""

PICTURE_CODECS = frozenset(
    [
        "h264",
        "hevc",
        "av1",
        "vp8",
        "vp9",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "h263",
        "mjpeg",
        "prores",
        "dnxhd",
        "cfhd",
        "dvvideo",
        "ffv1",
        "huffyuv",
        "ffvhuff",
        "utvideo",
        "qtrle",
        "png",
        "rawvideo",
        "v210",
        "theora",
        "vc1",
    ]
)
"""Names as FFmpeg lists them for formats, whichever decoder serves them."""

SOUND_CODECS = frozenset(
    [
        "aac",
        "mp3",
        "mp2",
        "flac",
        "alac",
        "vorbis",
        "opus",
        "ac3",
        "eac3",
        "dts",
        "pcm_alaw",
        "pcm_mulaw",
        "pcm_u8",
        "pcm_s8",
    ]
) | {
    f"pcm_{kind}{bits}{order}"
    for kind, widths in (("s", (16, 24, 32, 64)), ("f", (32, 64)))
    for bits in widths
    for order in ("le", "be")
}

_OTHER_NAMES = frozenset(
    ["libdav1d", "aac_latm", "mp3float", "mp2float", "libvorbis", "libopus", "libvpx", "libvpx-vp9", "dca"]
)
"""Decoders that are not called like their format."""

WHITELIST = ",".join(sorted(PICTURE_CODECS | SOUND_CODECS | _OTHER_NAMES))
"""FFmpeg's `codec_whitelist`, for what it decodes while it only looks at a file."""
