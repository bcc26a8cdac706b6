"""Captions: read SubRip or WebVTT, burn into a video with libass, or add as a subtitle track."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable
from musetalk_core.formats.atomic_files import replace_atomically, temporary_sibling
from musetalk_core.media.output.audio_track import encode_audio_track
from musetalk_core.media.output.caption_parser import Caption, parse_captions
from musetalk_core.media.output.caption_text import decode_caption_text
from musetalk_core.media.output.ffmpeg import build_command, file_url, find_ffmpeg, run_ffmpeg
from musetalk_core.media.output.reencode import reencode
from musetalk_core.media.output.tags import MediaTags, inherited_tags, metadata_options
from musetalk_core.media.source.container import open_container, video_stream
from musetalk_core.media.source.info import MediaInfo, VideoInfo
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import sniff
from musetalk_core.warning_codes import WarningCode

FONTS_FOLDER: Final = Path(__file__).parent / "fonts"
"""Bundled DejaVu Sans, so that captions look the same everywhere; missing glyphs come from system fonts."""
_FONT_NAME: Final = "DejaVu Sans"
MAX_CAPTIONS_BYTES: Final = 5_000_000
_TIMEOUT_S: Final = 6 * 3600.0
_MP4_CODECS: Final = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video"})
"""Video codecs that an mp4 can contain and that players read there."""
_MISSING_GLYPH: Final = re.compile(r"failed to find any fallback with glyph 0x([0-9A-Fa-f]+)")
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Characters without a picture, of which fonts draw boxes; without line ends and tabulators."""
_MARGIN_SHARE: Final = 0.05
_DIRECTION_FROM_TEXT: Final = -1
"""Encoding of an ASS style with which libass takes the base direction of a line from its first letter."""

Side = Literal["bottom", "top"]


@dataclass(frozen=True, slots=True)
class BurnStyle:
    """
    How burned captions look.

    Attributes:
        size: height of a text line in percent of the video's height.
        side: edge of the picture at which the captions are drawn.
        crf:  x264 quality, 0 (lossless) to 51.
    """

    size: float = 5.0
    side: Side = "bottom"
    crf: int = 18


def read_captions(path: Path, encoding: str | None = None) -> tuple[list[Caption], tuple[str, ...]]:
    """
    Read a SubRip or WebVTT file. Colors, positions and other markup are ignored.

    Args:
        path:     text of at most `MAX_CAPTIONS_BYTES`.
        encoding: of the text, if it is known; see `decode_caption_text`.

    Returns:
        The captions with text and a positive duration, sorted by start, and warnings.

    Raises:
        MediaUnreadable: the file is not text.
        MediaTooLarge:   the file is too large, or exceeds a limit of `parse_captions`.
        InputError:      the file contains no caption, or the encoding is unknown.
    """
    if path.stat().st_size > MAX_CAPTIONS_BYTES:
        raise MediaTooLarge(f"The caption file is larger than {MAX_CAPTIONS_BYTES // 1_000_000} MB.")
    text, warnings = decode_caption_text(path.read_bytes(), encoding)
    captions = parse_captions(_CONTROL_CHARACTERS.sub("", text))
    if not captions:
        raise InputError("The file contains no captions. Send an .srt or .vtt file.")
    return captions, warnings


def burn_captions(
    video: Path,
    info: MediaInfo,
    captions: Sequence[Caption],
    target: Path,
    *,
    style: BurnStyle = BurnStyle(),
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    ffmpeg: Path | None = None,
) -> tuple[str, ...]:
    """
    Burn captions into a video.

    The video is encoded again as H.264 and the audio as AAC, unless it is plain AAC already.

    Args:
        video:    a video file.
        info:     result of `probe` for it.
        captions: the captions to draw.
        target:   the .mp4 to write; written atomically.
        style:    how to draw them.
        limits:   checked against the headers and what is decoded.
        ffmpeg:   the ffmpeg program; None = search for it.

    Returns:
        Warnings if colors were converted, or if no font has some of the characters.

    Raises:
        EncodeError, DiskFull: the video could not be written.
        MediaUnreadable: the file has no video track.
    """
    picture = _require_video(info)
    with ExitStack() as stack:
        temporary = stack.enter_context(replace_atomically(target))
        script = stack.enter_context(temporary_sibling(target, ".ass"))
        _write_ass(script, captions, (picture.width, picture.height), style)
        messages = reencode(
            video,
            temporary,
            sound=_encode_sound(stack, video, info, target, limits, ffmpeg),
            filters=(("ass", {"filename": str(script), "fontsdir": str(FONTS_FOLDER)}),),
            repeat_at=_change_times(captions),
            crf=style.crf,
            tags=_tags_of(video),
            limits=limits,
            ffmpeg=ffmpeg,
        )
    return *_conversion_warnings(picture), *_glyph_warnings(messages)


def _change_times(captions: Sequence[Caption]) -> list[Fraction]:
    """Return the seconds at which captions appear or go, rounded up to the hundredths that libass knows."""
    times = {time for one in captions for time in (one.start_ms, one.end_ms)}
    return sorted({Fraction(-(-time // 10), 100) for time in times})


def _conversion_warnings(picture: VideoInfo) -> tuple[str, ...]:
    """Return the warnings about a video that hold if it is encoded again at its own frame times."""
    return tuple(text for text in picture.warnings if text.startswith(f"{WarningCode.TONE_MAPPED}:"))


def captions_after_end(captions: Sequence[Caption], seconds: float) -> tuple[str, ...]:
    """Return a warning if captions begin after the end of the video."""
    late = sum(one.start_ms >= 1000 * seconds for one in captions)
    if not late:
        return ()
    return (
        WarningCode.CAPTIONS_AFTER_END(
            f"{late} of {len(captions)} captions begin after the end of the video, at {seconds:.2f} s"
        ),
    )


def _encode_sound(
    stack: ExitStack, video: Path, info: MediaInfo, target: Path, limits: MediaLimits, ffmpeg: Path | None
) -> Path | None:
    if info.audio is None:
        return None
    path = stack.enter_context(temporary_sibling(target, ".m4a"))
    encode_audio_track(video, path, limits=limits, ffmpeg=ffmpeg)
    return path


def _tags_of(video: Path) -> MediaTags | None:
    with open_container(video, sniff(video), MediaLimits()) as container:
        return inherited_tags(container.metadata)


def _glyph_warnings(messages: Sequence[str]) -> tuple[str, ...]:
    found = [match[1] for text in messages for match in _MISSING_GLYPH.finditer(text)]
    characters = "".join(dict.fromkeys(chr(int(code, 16)) for code in found))
    if not characters:
        return ()
    return (
        WarningCode.MISSING_GLYPHS(
            f"no font on this machine has {characters[:10]}, so boxes are drawn; install a font that has them"
            " on the workers (Debian: fonts-noto-cjk or fonts-noto), or add the captions as a track"
        ),
    )


def add_caption_track(
    video: Path,
    info: MediaInfo,
    captions: Sequence[Caption],
    target: Path,
    *,
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
    ffmpeg: Path | None = None,
) -> tuple[str, ...]:
    """
    Add captions to a video as a subtitle track (mov_text).

    The video track is copied if an mp4 can hold it. A cropped one is encoded: few players crop mp4 files.

    Args:
        video:    a video file.
        info:     result of `probe` for it.
        captions: the captions of the track.
        target:   the .mp4 to write; written atomically.
        limits:   checked against the headers and what is decoded.
        ffmpeg:   the ffmpeg program; None = search for it.

    Returns:
        Warnings if the video had to be encoded again.

    Raises:
        EncodeError, DiskFull: the video could not be written.
        MediaUnreadable: the file has no video track.
    """
    picture = _require_video(info)
    with ExitStack() as stack:
        temporary = stack.enter_context(replace_atomically(target))
        lines = stack.enter_context(temporary_sibling(target, ".vtt"))
        lines.write_text(_to_vtt(captions), encoding="utf-8")
        source, warnings = video, tuple[str, ...]()
        if picture.codec not in _MP4_CODECS or picture.is_cropped:
            source = stack.enter_context(temporary_sibling(target, ".mp4"))
            reencode(video, source, limits=limits, ffmpeg=ffmpeg)
            warnings = (
                *_conversion_warnings(picture),
                WarningCode.VIDEO_REENCODED(
                    "the container crops the picture, so the video was encoded again"
                    if picture.is_cropped
                    else f"an mp4 cannot hold {picture.codec} video, so it was encoded as H.264"
                ),
            )
        sound = _encode_sound(stack, video, info, target, limits, ffmpeg)
        command = _track_command(find_ffmpeg(ffmpeg), source, sound, lines, temporary)
        run_ffmpeg(command, timeout_s=_TIMEOUT_S)
    return warnings


def _require_video(info: MediaInfo) -> VideoInfo:
    if info.video is None or info.kind != "video":
        raise MediaUnreadable("Captions can only be added to a video; this file has no video track.")
    return info.video


def _track_command(binary: Path, video: Path, sound: Path | None, lines: Path, target: Path) -> list[str]:
    import ffmpeg as graph

    file_type = sniff(video)
    with open_container(video, file_type, MediaLimits()) as container:
        stream = video_stream(container)
        number = "v:0" if stream is None else str(stream.index)
        tags = inherited_tags(container.metadata)
    demuxer = file_type.demuxer
    source: Any = graph.input(
        file_url(video), format=demuxer, format_whitelist=demuxer, protocol_whitelist="file"
    )
    streams = [source[number]]
    if sound is not None:
        streams.append(graph.input(file_url(sound), format="mov", protocol_whitelist="file")["a:0"])
    streams.append(graph.input(file_url(lines), format="webvtt", protocol_whitelist="file")["s:0"])
    options = {"c:v": "copy", "c:a": "copy", "c:s": "mov_text", "format": "mp4"}
    options |= {"movflags": "+faststart", "map_metadata": -1, "map_chapters": -1}
    options |= metadata_options(tags)
    return build_command(binary, graph.output(*streams, file_url(target), **options))


def _write_ass(path: Path, captions: Sequence[Caption], picture: tuple[int, int], style: BurnStyle) -> None:
    """Write an ASS script: white text with a dark outline, margins of 5 % of the picture on each side."""
    import pysubs2

    width, height = picture
    script = pysubs2.SSAFile()
    script.info |= {"PlayResX": str(width), "PlayResY": str(height), "WrapStyle": "0"}
    font_size = height * style.size / 100
    alignment = pysubs2.Alignment.TOP_CENTER if style.side == "top" else pysubs2.Alignment.BOTTOM_CENTER
    script.styles["Default"] = pysubs2.SSAStyle(
        fontname=_FONT_NAME,
        fontsize=font_size,
        outline=max(1.0, font_size / 14),
        shadow=0,
        alignment=alignment,
        marginv=round(height * _MARGIN_SHARE),
        marginl=round(width * _MARGIN_SHARE),
        marginr=round(width * _MARGIN_SHARE),
        encoding=_DIRECTION_FROM_TEXT,
    )
    line_chars = max(1, int(width * (1 - 2 * _MARGIN_SHARE) / font_size))
    script.events = [
        pysubs2.SSAEvent(
            start=one.start_ms, end=one.end_ms, text=_escape_ass(_break_wide_text(one.text, line_chars))
        )
        for one in captions
    ]
    script.save(str(path), encoding="utf-8", format_="ass")


def _break_wide_text(text: str, line_chars: int) -> str:
    """Break runs of wide characters (Chinese, Japanese, Korean) that have no spaces, where libass breaks."""
    out: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.east_asian_width(character) in "WF" else 0
        if run > line_chars:
            out.append("\n")
            run = 1
        out.append(character)
    return "".join(out)


def _escape_ass(text: str) -> str:
    """Replace braces and backslashes, which are commands to libass, by similar characters."""
    plain = text.replace("\\", "\u2216").replace("{", "\u2774").replace("}", "\u2775")
    return plain.replace("\r", "").replace("\n", "\\N")


def _to_vtt(captions: Sequence[Caption]) -> str:
    cues = [
        f"{_vtt_time(one.start_ms)} --> {_vtt_time(one.end_ms)}\n"
        + html.escape(re.sub(r"\n\s*\n", "\n", one.text.replace("\\", "\u2216")), quote=False)
        for one in captions
    ]
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def _vtt_time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
