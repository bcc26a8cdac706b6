"""Captions: read from SubRip or WebVTT, drawn into a picture by libass, or laid beside it as a track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from musetalk_core.errors import InputError, MediaUnreadable
from musetalk_core.media.ffmpeg import command, file_url, find_ffmpeg, run
from musetalk_core.media.files import replacing
from musetalk_core.media.info import MediaInfo, VideoInfo
from musetalk_core.media.sniff import sniff

FONTS: Final = Path(__file__).parent / "fonts"
"""DejaVu Sans, so that captions look the same everywhere; what it lacks comes from the system's fonts."""
_FONT: Final = "DejaVu Sans"
MOST_BYTES, MOST_LINES = 5_000_000, 20_000
_DEADLINE_S: Final = 6 * 3600.0
_COPIED_SOUND: Final = frozenset({"aac", "mp3"})

Side = Literal["bottom", "top"]


@dataclass(frozen=True, slots=True)
class Caption:
    """A text that is shown for a while."""

    start_ms: int
    end_ms: int
    text: str
    """Plain; lines are parted by a line feed."""


def read_captions(path: Path) -> list[Caption]:
    """
    Read a SubRip or WebVTT file; colours, positions and other markup are left out.

    Args:
        path: UTF-8, at most `MOST_BYTES`.

    Returns:
        Captions that are shown at all, by their beginning.

    Raises:
        MediaUnreadable: it is neither, or no text.
        InputError:      it is too large, or holds no caption.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"A file of captions has at most {MOST_BYTES // 1_000_000} MB.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise MediaUnreadable("The captions are not text in UTF-8.") from None
    found = _parsed(text.replace("\0", ""))
    if not found:
        raise InputError("The file holds no captions: .srt and .vtt are read.")
    return found[:MOST_LINES]


def _parsed(text: str) -> list[Caption]:
    import pysubs2

    kind = "vtt" if text.lstrip().startswith("WEBVTT") else "srt"
    try:
        events = pysubs2.SSAFile.from_string(text, format_=kind).events
    except (pysubs2.exceptions.Pysubs2Error, ValueError) as error:
        raise MediaUnreadable("The captions are neither SubRip nor WebVTT.") from error
    plain = [Caption(event.start, event.end, event.plaintext.strip()) for event in events]
    return sorted(
        (one for one in plain if one.text and one.end_ms > one.start_ms), key=lambda one: one.start_ms
    )


def burn(
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
    Draw captions into a video. Its picture is encoded again, its sound only where an mp4 would not take it.

    Args:
        video:    a file with a moving picture.
        info:     what probing it told.
        captions: what to draw.
        target:   the .mp4 to write; whole or not at all.
        size:     height of a line in percent of the picture's height.
        side:     where they stand.
        crf:      quality of the picture, H.264.
        ffmpeg:   the program; None = search.

    Raises:
        EncodeError, DiskFull: it could not be written.
        MediaUnreadable: there is no moving picture.
    """
    import ffmpeg as graph

    shown = _moving(info)
    with replacing(target) as temporary:
        script = temporary.with_suffix(".ass")
        try:
            _write_script(script, captions, shown.width, shown.height, size, side)
            source = _input(video)
            picture = (
                source["v:0"]
                .filter("scale", shown.width, shown.height)
                .filter("setsar", 1)
                .filter("ass", filename=str(script), fontsdir=str(FONTS))
            )
            options: dict[str, Any] = {"c:v": "libx264", "crf": crf, "preset": "fast", "pix_fmt": "yuv420p"}
            run(
                _words(find_ffmpeg(ffmpeg), [picture, *_sound(source, info)], temporary, info, options, graph)
            )
        finally:
            script.unlink(missing_ok=True)


def add_track(
    video: Path,
    info: MediaInfo,
    captions: Sequence[Caption],
    target: Path,
    *,
    ffmpeg: Path | None = None,
) -> None:
    """
    Lay captions beside a video as a track of text; its picture is not touched.

    Args:
        video:    a file with a moving picture that an mp4 takes as it is.
        info:     what probing it told.
        captions: the track.
        target:   the .mp4 to write; whole or not at all.
        ffmpeg:   the program; None = search.

    Raises:
        EncodeError, DiskFull: it could not be written.
        MediaUnreadable: there is no moving picture.
    """
    import ffmpeg as graph

    _moving(info)
    with replacing(target) as temporary:
        lines = temporary.with_suffix(".srt")
        try:
            lines.write_text(_as_srt(captions), encoding="utf-8")
            source = _input(video)
            text = graph.input(file_url(lines), format="srt", protocol_whitelist="file")
            streams = [source["v:0"], *_sound(source, info), text["s:0"]]
            options = {"c:v": "copy", "c:s": "mov_text"}
            run(_words(find_ffmpeg(ffmpeg), streams, temporary, info, options, graph))
        finally:
            lines.unlink(missing_ok=True)


def _moving(info: MediaInfo) -> VideoInfo:
    if info.video is None or info.kind != "video":
        raise MediaUnreadable("Captions are for a video; this is none.")
    return info.video


def _input(video: Path) -> Any:
    import ffmpeg as graph

    demuxer = sniff(video).demuxer
    return graph.input(file_url(video), format=demuxer, format_whitelist=demuxer, protocol_whitelist="file")


def _sound(source: Any, info: MediaInfo) -> list[Any]:
    return [source["a:0"]] if info.audio else []


def _words(
    binary: Path, streams: list[Any], target: Path, info: MediaInfo, options: dict[str, Any], graph: Any
) -> list[str]:
    if info.audio:
        sound = "copy" if info.audio.codec in _COPIED_SOUND else "aac"
        options = {**options, "c:a": sound, **({"b:a": "192k"} if sound == "aac" else {})}
    made = graph.output(
        *streams,
        file_url(target),
        format="mp4",
        movflags="+faststart",
        map_metadata=-1,
        map_chapters=-1,
        **options,
    )
    return command(binary, made)


def _write_script(
    path: Path, captions: Sequence[Caption], width: int, height: int, size: float, side: Side
) -> None:
    """Write what libass draws: white on a dark rim, at most as wide as nine tenths of the picture."""
    import pysubs2

    script = pysubs2.SSAFile()
    script.info |= {"PlayResX": str(width), "PlayResY": str(height), "WrapStyle": "0"}
    letters = height * size / 100
    place = pysubs2.Alignment.TOP_CENTER if side == "top" else pysubs2.Alignment.BOTTOM_CENTER
    script.styles["Default"] = pysubs2.SSAStyle(
        fontname=_FONT,
        fontsize=letters,
        outline=max(1.0, letters / 14),
        shadow=0,
        alignment=place,
        marginv=round(height * 0.05),
        marginl=round(width * 0.05),
        marginr=round(width * 0.05),
    )
    script.events = [
        pysubs2.SSAEvent(start=one.start_ms, end=one.end_ms, text=_escaped(one.text)) for one in captions
    ]
    script.save(str(path), encoding="utf-8", format_="ass")


def _escaped(text: str) -> str:
    """Braces and backslashes command libass; look-alikes do not."""
    plain = text.replace("\\", "\u2216").replace("{", "\u2774").replace("}", "\u2775")
    return plain.replace("\r", "").replace("\n", "\\N")


def _as_srt(captions: Sequence[Caption]) -> str:
    import pysubs2

    lines = pysubs2.SSAFile()
    lines.events = [
        pysubs2.SSAEvent(start=one.start_ms, end=one.end_ms, text=_escaped(one.text)) for one in captions
    ]
    return lines.to_string("srt")
