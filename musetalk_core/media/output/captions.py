"""Captions: read SubRip or WebVTT, burn into a video with libass, or add as a subtitle track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.output.caption_parser import Caption, parse_captions
from musetalk_core.media.output.ffmpeg import build_command, file_url, find_ffmpeg, run_ffmpeg
from musetalk_core.media.source.info import MediaInfo, VideoInfo
from musetalk_core.media.source.sniff import sniff

FONTS_FOLDER: Final = Path(__file__).parent / "fonts"
"""Bundled DejaVu Sans, so that captions look the same everywhere; missing glyphs come from system fonts."""
_FONT_NAME: Final = "DejaVu Sans"
MAX_CAPTIONS_BYTES: Final = 5_000_000
_TIMEOUT_S: Final = 6 * 3600.0
_COPYABLE_AUDIO_CODECS: Final = frozenset({"aac", "mp3"})

Side = Literal["bottom", "top"]


def read_captions(path: Path) -> list[Caption]:
    """
    Read a SubRip or WebVTT file. Colors, positions and other markup are ignored.

    Args:
        path: UTF-8 text of at most `MAX_CAPTIONS_BYTES`.

    Returns:
        The captions with text and a positive duration, sorted by start.

    Raises:
        MediaUnreadable: the file is not UTF-8 text.
        MediaTooLarge:   the file is too large, or exceeds a limit of `parse_captions`.
        InputError:      the file contains no caption.
    """
    if path.stat().st_size > MAX_CAPTIONS_BYTES:
        raise MediaTooLarge(f"The caption file is larger than {MAX_CAPTIONS_BYTES // 1_000_000} MB.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise MediaUnreadable("The caption file is not UTF-8 text.") from None
    captions = parse_captions(text.replace("\0", ""))
    if not captions:
        raise InputError("The file contains no captions. Send an .srt or .vtt file.")
    return captions


def burn_captions(
    video: Path,
    info: MediaInfo,
    captions: Sequence[Caption],
    target: Path,
    *,
    size: float = 5.0,
    side: Side = "bottom",
    crf: int = 18,
    ffmpeg: Path | None = None,
) -> None:
    """
    Burn captions into a video.

    The video is encoded again as H.264. The audio is copied if it is AAC or MP3, else encoded as AAC at 192
    kbit/s.

    Args:
        video:    a video file.
        info:     result of `probe` for it.
        captions: the captions to draw.
        target:   the .mp4 to write; written atomically.
        size:     height of a text line in percent of the video's height.
        side:     edge of the picture at which the captions are drawn.
        crf:      x264 quality, 0 (lossless) to 51.
        ffmpeg:   the ffmpeg program; None = search for it.

    Raises:
        EncodeError, DiskFull: the video could not be written.
        MediaUnreadable: the file has no video track.
    """
    import ffmpeg as graph

    video_info = _require_video(info)
    with replace_atomically(target) as temporary:
        script = temporary.with_suffix(".ass")
        try:
            _write_ass(script, captions, video_info.width, video_info.height, size, side)
            source = _graph_input(video)
            picture = (
                source["v:0"]
                .filter("scale", video_info.width, video_info.height)
                .filter("setsar", 1)
                .filter("ass", filename=str(script), fontsdir=str(FONTS_FOLDER))
            )
            options: dict[str, Any] = {"c:v": "libx264", "crf": crf, "preset": "fast", "pix_fmt": "yuv420p"}
            run_ffmpeg(
                _build_command(
                    find_ffmpeg(ffmpeg),
                    [picture, *_audio_streams(source, info)],
                    temporary,
                    info,
                    options,
                    graph,
                )
            )
        finally:
            script.unlink(missing_ok=True)


def add_caption_track(
    video: Path,
    info: MediaInfo,
    captions: Sequence[Caption],
    target: Path,
    *,
    ffmpeg: Path | None = None,
) -> None:
    """
    Add captions to a video as a subtitle track (mov_text). The video track is copied.

    Args:
        video:    a video file whose codec an mp4 can contain.
        info:     result of `probe` for it.
        captions: the captions of the track.
        target:   the .mp4 to write; written atomically.
        ffmpeg:   the ffmpeg program; None = search for it.

    Raises:
        EncodeError, DiskFull: the video could not be written.
        MediaUnreadable: the file has no video track.
    """
    import ffmpeg as graph

    _require_video(info)
    with replace_atomically(target) as temporary:
        lines = temporary.with_suffix(".srt")
        try:
            lines.write_text(_to_srt(captions), encoding="utf-8")
            source = _graph_input(video)
            text = graph.input(file_url(lines), format="srt", protocol_whitelist="file")
            streams = [source["v:0"], *_audio_streams(source, info), text["s:0"]]
            options = {"c:v": "copy", "c:s": "mov_text"}
            run_ffmpeg(_build_command(find_ffmpeg(ffmpeg), streams, temporary, info, options, graph))
        finally:
            lines.unlink(missing_ok=True)


def _require_video(info: MediaInfo) -> VideoInfo:
    if info.video is None or info.kind != "video":
        raise MediaUnreadable("Captions can only be added to a video; this file has no video track.")
    return info.video


def _graph_input(video: Path) -> Any:
    import ffmpeg as graph

    demuxer = sniff(video).demuxer
    return graph.input(file_url(video), format=demuxer, format_whitelist=demuxer, protocol_whitelist="file")


def _audio_streams(source: Any, info: MediaInfo) -> list[Any]:
    return [source["a:0"]] if info.audio else []


def _build_command(
    binary: Path, streams: list[Any], target: Path, info: MediaInfo, options: dict[str, Any], graph: Any
) -> list[str]:
    if info.audio:
        audio_codec = "copy" if info.audio.codec in _COPYABLE_AUDIO_CODECS else "aac"
        options = {**options, "c:a": audio_codec, **({"b:a": "192k"} if audio_codec == "aac" else {})}
    output = graph.output(
        *streams,
        file_url(target),
        format="mp4",
        movflags="+faststart",
        map_metadata=-1,
        map_chapters=-1,
        **options,
    )
    return build_command(binary, output)


def _write_ass(
    path: Path, captions: Sequence[Caption], width: int, height: int, size: float, side: Side
) -> None:
    """Write an ASS script: white text with a dark outline, margins of 5 % of the picture on each side."""
    import pysubs2

    script = pysubs2.SSAFile()
    script.info |= {"PlayResX": str(width), "PlayResY": str(height), "WrapStyle": "0"}
    font_size = height * size / 100
    alignment = pysubs2.Alignment.TOP_CENTER if side == "top" else pysubs2.Alignment.BOTTOM_CENTER
    script.styles["Default"] = pysubs2.SSAStyle(
        fontname=_FONT_NAME,
        fontsize=font_size,
        outline=max(1.0, font_size / 14),
        shadow=0,
        alignment=alignment,
        marginv=round(height * 0.05),
        marginl=round(width * 0.05),
        marginr=round(width * 0.05),
    )
    script.events = [
        pysubs2.SSAEvent(start=one.start_ms, end=one.end_ms, text=_escape_ass(one.text)) for one in captions
    ]
    script.save(str(path), encoding="utf-8", format_="ass")


def _escape_ass(text: str) -> str:
    """Replace braces and backslashes, which are commands to libass, by similar characters."""
    plain = text.replace("\\", "\u2216").replace("{", "\u2774").replace("}", "\u2775")
    return plain.replace("\r", "").replace("\n", "\\N")


def _to_srt(captions: Sequence[Caption]) -> str:
    import pysubs2

    lines = pysubs2.SSAFile()
    lines.events = [
        pysubs2.SSAEvent(start=one.start_ms, end=one.end_ms, text=_escape_ass(one.text)) for one in captions
    ]
    return lines.to_string("srt")
