"""The media corpus: odd and hostile videos and sounds, and what a job has to make of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from corpus_maker import ASSETS, FLASH_S, SECONDS, SIZE, UPRIGHT, Maker
from cropped_media import with_clap, with_pixel_crop

BT709 = "out_color_matrix=bt709"
PQ_TAGS = "color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
HEVC = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none")


@dataclass(frozen=True)
class Video:
    """A video of the corpus: how it is made, and what a job has to make of it."""

    name: str
    make: Callable[[Maker], Path]
    size: tuple[int, int] = (SIZE, SIZE)
    corners: tuple[str, ...] = UPRIGHT
    tolerance: int | None = 16
    """Largest difference of a corner's mean color, of 255; None: colors change on purpose."""
    seconds: float = SECONDS
    slack_s: float = 0.12
    """Largest difference of the length: three frames of 40 ms, or more for coarser sources."""
    flash_s: float = FLASH_S
    warnings: tuple[str, ...] = ()


def joined(maker):
    """Two transport streams, one after the other: clocks start again."""
    part = maker.mp4("part.ts", "-f", "mpegts")
    return maker.bytes("joined.ts", part.read_bytes() * 2)


def fragmented(maker):
    return maker.mp4("fragmented.mp4", "-movflags", "frag_keyframe+empty_moov", "-g", "10")


def cropped(maker, name):
    """The master within a border that the container crops."""
    border = ["-vf", f"pad={SIZE + 40}:{SIZE + 20}:16:8:red,scale={BT709}"]
    if name.endswith("mkv"):
        path = maker.mp4(name, *border, "-f", "matroska", "-live", "1")
        return with_pixel_crop(path, left=16, top=8, right=24, bottom=12)
    path = maker.mp4(name, *border)
    return with_clap(path, SIZE, SIZE, right=(-8, 2), down=(-4, 2))


def late_picture(maker):
    """The picture starts 0.4 s after the sound; flash and beep still belong together."""
    plain = maker.mp4("late-source.mp4", "-g", 5)
    shift = ("-ss", 0.4, "-itsoffset", 0.4)
    words = ("-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy")
    return maker.ffmpeg("late.mkv", *words, source=plain, before=shift)


VIDEOS = (
    Video("plain", lambda m: m.mp4()),
    Video(
        "rotated",
        lambda m: m.ffmpeg("r.mp4", "-c", "copy", source=m.mp4(), before=("-display_rotation", 90)),
        corners=("red", "blue", "green", "flash"),
    ),
    Video(
        "mirrored",
        lambda m: m.ffmpeg("h.mp4", "-c", "copy", source=m.mp4(), before=("-display_hflip",)),
        corners=("red", "flash", "green", "blue"),
    ),
    Video("wide pixels", lambda m: m.mp4("sar.mp4", "-vf", f"scale=160:320:{BT709},setsar=2")),
    Video(
        "odd sides",
        lambda m: m.mp4("odd.mkv", "-vf", f"scale=321:319:{BT709}", "-pix_fmt", "yuv444p"),
        size=(322, 320),
    ),
    Video("PixelCrop", lambda m: cropped(m, "crop.mkv")),
    Video("clean aperture", lambda m: cropped(m, "crop.mp4")),
    Video(
        "BT.601",
        lambda m: m.mp4("601.mp4", "-vf", "scale=out_color_matrix=smpte170m", "-colorspace", "smpte170m"),
    ),
    Video(
        "full range",
        lambda m: m.mp4("full.mp4", "-vf", f"scale={BT709}:out_range=pc", "-color_range", "pc"),
    ),
    Video("10 bits", lambda m: m.mp4("ten.mp4", *HEVC)),
    Video(
        "gray",
        lambda m: m.ffmpeg("gray.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", "-c:a", "flac"),
        tolerance=None,
    ),
    Video(
        "ProRes",
        lambda m: m.mp4("p.mov", "-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-c:a", "pcm_s16be"),
    ),
    Video(
        "VP9",
        lambda m: m.mp4("v.webm", "-c:v", "libvpx-vp9", "-cpu-used", 8, "-b:v", "2M", "-c:a", "libopus"),
    ),
    Video(
        "HLG",
        lambda m: m.mp4(
            "hlg.mp4",
            *HEVC[:-1],
            "log-level=none:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc",
        ),
        tolerance=None,
        warnings=("tone_mapped",),
    ),
    Video(
        "AV1 in PQ",
        lambda m: m.ffmpeg(
            "pq.mkv",
            *("-vf", f"scale=out_color_matrix=bt2020,format=yuv420p10le,setparams={PQ_TAGS}"),
            *("-c:v", "libsvtav1", "-preset", 12, "-c:a", "libopus"),
        ),
        tolerance=None,
        warnings=("tone_mapped",),
    ),
    Video(
        "PAL without tags",
        lambda m: m.ffmpeg(
            "pal.mp4",
            *("-vf", "scale=720:576:out_color_matrix=smpte170m,setsar=64/45"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-crf", 12, "-pix_fmt", "yuv420p", "-c:a", "aac"),
            *("-bsf:v", "h264_metadata=matrix_coefficients=2:colour_primaries=2:transfer_characteristics=2"),
        ),
        size=(1024, 576),
    ),
    Video(
        "cover picture first",
        lambda m: m.ffmpeg(
            "cover.mp4",
            *("-map", "0", "-map", "1", "-c", "copy", "-c:v:0", "mjpeg", "-disposition:v:0", "attached_pic"),
            source=m.mp4(),
            before=("-i", ASSETS / "astronaut.jpg"),
        ),
    ),
    Video(
        "second sound track is the default",
        lambda m: m.ffmpeg(
            "two.mkv",
            *("-t", SECONDS, "-map", "1:v", "-map", "0:a", "-map", "1:a", "-c:v", "copy", "-c:a", "aac"),
            *("-disposition:a:0", 0, "-disposition:a:1", "default"),
            source=m.mp4(),
            before=("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono"),
        ),
    ),
    Video("interlaced", lambda m: m.mp4("i.mp4", "-flags", "+ildct+ilme", "-x264opts", "tff=1")),
    Video(
        "5 frames a second",
        lambda m: m.mp4("slow.mp4", "-vf", f"framestep=5,scale={BT709}"),
        slack_s=0.2,
        warnings=("low_frame_rate",),
    ),
    Video("240 frames a second", lambda m: m.mp4("fast.mp4", "-r", 240), warnings=("high_frame_rate",)),
    Video("30 frames a second", lambda m: m.mp4("thirty.mp4", "-r", 30)),
    Video("picture late", late_picture),
    Video(
        "edit list",
        lambda m: m.ffmpeg("cut.mp4", "-c", "copy", source=m.mp4("keys.mp4", "-g", 5), before=("-ss", 0.4)),
        seconds=SECONDS - 0.4,
        flash_s=FLASH_S - 0.4,
    ),
    Video("fragments", fragmented),
    Video(
        "clock starts at 5 s",
        lambda m: m.ffmpeg("off.mkv", "-c", "copy", "-output_ts_offset", 5, source=m.mp4()),
    ),
    Video("joined streams", joined, seconds=2 * SECONDS, slack_s=0.2),
)


HOSTILE = {
    "empty": (lambda m: m.bytes("empty.mp4", b""), "unsupported_media"),
    "text": (lambda m: m.bytes("text.mp4", b"only words, no video. " * 99), "unsupported_media"),
    "cut off": (
        lambda m: m.bytes("cut-off.mp4", (data := m.mp4().read_bytes())[: len(data) // 2]),
        "unsupported_media",
    ),
    "no tables": (lambda m: m.bytes("head.mp4", m.mp4().read_bytes()[:400]), "unsupported_media"),
    "playlist": (
        lambda m: m.bytes("list.m3u8", f"#EXTM3U\n#EXTINF:9,\nfile://{m.master}\n".encode()),
        "unsupported_media",
    ),
    "script": (
        lambda m: m.bytes("list.ffconcat", f"ffconcat version 1.0\nfile '{m.master}'\n".encode()),
        "unsupported_media",
    ),
    "noise in the tables": (lambda m: m.bytes("noise.mp4", noisy(m.mp4().read_bytes())), "unsupported_media"),
    "3D": (
        lambda m: m.mp4("3d.mp4", "-x264opts", "frame-packing=3"),
        "unsupported_media",
    ),
    "cropped away": (
        lambda m: with_pixel_crop(
            m.mp4("gone.mkv", "-f", "matroska", "-live", "1"), left=200, top=0, right=200, bottom=0
        ),
        "unsupported_media",
    ),
    "log colors": (
        lambda m: m.mp4(
            "log.mp4", "-color_trc", "log100", "-bsf:v", "h264_metadata=transfer_characteristics=9"
        ),
        "unsupported_media",
    ),
}
"""Files that no job can use, and the code of the refusal."""


def noisy(data):
    """The sample tables overwritten by noise."""
    start = data.index(b"stbl") + 8
    return data[:start] + np.random.default_rng(0).bytes(len(data) - start)


SOUNDS = {
    "opposite phase": lambda m: m.ffmpeg("phase.flac", "-vn", "-af", "pan=stereo|c0=c0|c1=-1*c0"),
    "5.1": lambda m: m.ffmpeg("surround.flac", "-vn", "-af", "pan=5.1|FC=c0|FL=0*c0|FR=0*c0"),
    "one side": lambda m: m.ffmpeg("left.wav", "-vn", "-af", "pan=stereo|c0=c0|c1=0*c0"),
    "96 kHz float": lambda m: m.ffmpeg("float.wav", "-vn", "-ar", 96_000, "-c:a", "pcm_f32le"),
    "8 bits": lambda m: m.ffmpeg("eight.wav", "-vn", "-c:a", "pcm_u8"),
    "IMA ADPCM": lambda m: m.ffmpeg("ima.wav", "-vn", "-ar", 22_050, "-c:a", "adpcm_ima_wav"),
    "AIFF": lambda m: m.ffmpeg("sound.aiff", "-vn"),
    "CAF": lambda m: m.ffmpeg("sound.caf", "-vn", "-c:a", "alac"),
    "A-law AU": lambda m: m.ffmpeg("sound.au", "-vn", "-c:a", "pcm_alaw"),
    "WMA": lambda m: m.ffmpeg("sound.wma", "-vn", "-c:a", "wmav2"),
    "AMR": lambda m: m.ffmpeg("sound.amr", "-vn", "-ar", 8000, "-c:a", "libopencore_amrnb", "-b:a", "12.2k"),
    "Opus": lambda m: m.ffmpeg("sound.opus", "-vn", "-c:a", "libopus"),
    "MP3": lambda m: m.ffmpeg("sound.mp3", "-vn", "-ar", 44_100, "-c:a", "libmp3lame"),
    "video": lambda m: m.mp4(),
}
"""The sound of the master in other forms."""
