"""Detect media file types from their first bytes. File names and content types are ignored."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from musetalk_core.errors import MediaUnreadable

_HEAD_BYTES = 4096
_TS_PACKET, _M2TS_PACKET = 188, 192
_AC3_VERSION_BYTE, _AC3_LAST_VERSION = 5, 10
_PHOTO_BRANDS = frozenset({b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
_MOV_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_ACCEPTED = (
    "Send mp4, mov, mkv, webm, ts, wav, mp3, m4a, flac, ogg, aiff, caf, amr, au, wma, ac3, png, jpeg or webp."
)


@dataclass(frozen=True, slots=True)
class FileType:
    """
    A detected file type.

    Attributes:
        is_still: True for an image, False for a video or audio container.
        name:     common name of the format: mp4, mov, webm, wav, png ...
        demuxer:  the only FFmpeg demuxer, or Pillow format for an image, that may open the file.
    """

    is_still: bool
    name: str
    demuxer: str


_PREFIXES = (
    (b"\x89PNG\r\n\x1a\n", FileType(True, "png", "PNG")),
    (b"\xff\xd8\xff", FileType(True, "jpeg", "JPEG")),
    (b"fLaC", FileType(False, "flac", "flac")),
    (b"OggS", FileType(False, "ogg", "ogg")),
    (b"caff\0\1", FileType(False, "caf", "caf")),
    (b"#!AMR", FileType(False, "amr", "amr")),
    (b".snd", FileType(False, "au", "au")),
    (b"wvpk", FileType(False, "wavpack", "wv")),
    (b"riff\x2e\x91\xcf\x11", FileType(False, "w64", "w64")),
    (b"\x30\x26\xb2\x75", FileType(False, "asf", "asf")),
    (b"\x7f\xfe\x80\x01", FileType(False, "dts", "dts")),
    (b"NIST_1A\n", FileType(False, "sphere", "nistsphere")),
)
_IFF_AUDIO = frozenset({b"AIFF", b"AIFC"})
_RIFF_TYPES = {
    b"WAVE": FileType(False, "wav", "wav"),
    b"WEBP": FileType(True, "webp", "WEBP"),
}
_UNSUPPORTED_PATTERNS = (
    (rb"\s*#EXTM3U", "an HLS playlist, which only points at other files"),
    (rb"\s*ffconcat", "an ffconcat list, which only points at other files"),
    (rb"\s*<", "a web page or XML text"),
    (rb"GIF8", "a GIF"),
    (rb"FLV\x01", "an FLV video"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"\x00\x00\x01\xba", "an MPEG program stream (.mpg or .vob)"),
    (rb"%PDF", "a PDF"),
    (rb"PK\x03\x04", "a ZIP archive"),
)


def sniff(path: Path) -> FileType:
    """
    Detect the type of a file from its content.

    Raises:
        MediaUnreadable: the file is empty, text, a playlist or of a format that is not accepted.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if not head:
            raise MediaUnreadable("The file is empty (0 bytes); upload it again.")
        file_type = _detect_by_head(head) or (_detect_after_id3(file, head) if head[:3] == b"ID3" else None)
    if file_type is None:
        raise MediaUnreadable(f"The file is {describe_unsupported(head)}. {_ACCEPTED}")
    return file_type


def _detect_by_head(head: bytes) -> FileType | None:
    for prefix, file_type in _PREFIXES:
        if head.startswith(prefix):
            return file_type
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF_TYPES.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in _IFF_AUDIO:
        return FileType(False, "aiff", "aiff")
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return FileType(False, "webm" if b"webm" in head[:64] else "matroska", "matroska")
    return _detect_mov(head) or _detect_mpegts(head) or _detect_raw_audio(head)


def _detect_mov(head: bytes) -> FileType | None:
    if head[4:8] not in _MOV_BOXES or (head[4:8] == b"ftyp" and head[8:12] in _PHOTO_BRANDS):
        return None
    is_quicktime = head[4:8] != b"ftyp" or head[8:12] == b"qt  "
    return FileType(False, "mov" if is_quicktime else "mp4", "mov")


def _detect_mpegts(head: bytes) -> FileType | None:
    for start, step in ((0, _TS_PACKET), (4, _M2TS_PACKET)):
        syncs = head[start : start + 4 * step : step]
        if len(syncs) >= 3 and set(syncs) == {0x47}:
            return FileType(False, "mpegts", "mpegts")
    return None


def _detect_raw_audio(head: bytes) -> FileType | None:
    """
    Detect the frames of AC-3, E-AC-3, AAC and MPEG audio.

    MPEG frames have 11 sync bits, then a valid version, layer, bit rate and sample rate. AC-3 frames have 16
    sync bits and, in their sixth byte, a version of at most 10; later ones are E-AC-3.
    """
    if head[:2] == b"\x0b\x77" and len(head) > _AC3_VERSION_BYTE:
        name = "ac3" if head[_AC3_VERSION_BYTE] >> 3 <= _AC3_LAST_VERSION else "eac3"
        return FileType(False, name, name)
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return FileType(False, "aac", "aac")
    has_layer, has_version = head[1] & 0x06 != 0, head[1] & 0x18 != 0x08
    has_rates = head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C
    return FileType(False, "mp3", "mp3") if has_layer and has_version and has_rates else None


def _detect_after_id3(file: BinaryIO, head: bytes) -> FileType | None:
    """Detect the type after an ID3v2 tag, whose size is stored in four 7-bit bytes; padding may follow it."""
    if len(head) < 10:
        return None
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    file.seek(10 + size)
    body = file.read(_HEAD_BYTES).lstrip(b"\0")
    if body.startswith(b"fLaC"):
        return FileType(False, "flac", "flac")
    return _detect_raw_audio(body) or (FileType(False, "mp3", "mp3") if body else None)


def describe_unsupported(head: bytes) -> str:
    """Describe an unsupported file by its first bytes, to complete the sentence `The file is ...`."""
    for pattern, words in _UNSUPPORTED_PATTERNS:
        if re.match(pattern, head.removeprefix(b"\xef\xbb\xbf"), re.DOTALL):
            return words
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF photo, which is not accepted"
    return "text" if _is_text(head) else "of an unknown format"


def _is_text(head: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", head)
