"""Allowed codecs of input files: common ones only, to keep untrusted files from rarely tested decoders."""

VIDEO_CODECS = frozenset(
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
"""FFmpeg's names of the codecs (not of their decoders) of video and images."""

AUDIO_CODECS = frozenset(
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
        "adpcm_ima_wav",
        "adpcm_ima_qt",
        "adpcm_ms",
        "adpcm_g722",
        "gsm",
        "gsm_ms",
        "amr_nb",
        "amr_wb",
        "wavpack",
        "wmav1",
        "wmav2",
    ]
) | {
    f"pcm_{kind}{bits}{order}"
    for kind, widths in (("s", (16, 24, 32, 64)), ("f", (32, 64)))
    for bits in widths
    for order in ("le", "be")
}

_DECODER_ALIASES = frozenset(
    [
        "libdav1d",
        "aac_latm",
        "mp3float",
        "mp2float",
        "libvorbis",
        "libopus",
        "libvpx",
        "libvpx-vp9",
        "dca",
        "g722",
        "amrnb",
        "amrwb",
    ]
)
"""Decoders whose names differ from their codec."""

CODEC_WHITELIST = ",".join(sorted(VIDEO_CODECS | AUDIO_CODECS | _DECODER_ALIASES))
"""Value of FFmpeg's `codec_whitelist`, which also restricts decoding while FFmpeg probes a file."""
