"""Sound files of the usual kinds, made by one ffmpeg."""

from pathlib import Path
from typing import Any, Final, Literal

from musetalk_core.media.ffmpeg import command, file_url, find_ffmpeg, run
from musetalk_core.media.files import replacing

SoundKind = Literal["mp3", "wav", "flac", "ogg"]

_OPTIONS: Final[dict[SoundKind, dict[str, Any]]] = {
    "mp3": {"format": "mp3", "c:a": "libmp3lame", "q:a": 2},
    "wav": {"format": "wav", "c:a": "pcm_s16le"},
    "flac": {"format": "flac", "c:a": "flac"},
    "ogg": {"format": "ogg", "c:a": "libvorbis", "q:a": 6},
}


def convert_wav(source: Path, target: Path, kind: SoundKind, *, ffmpeg: Path | None = None) -> None:
    """
    Write a wav file of ours as another kind, at its own rate; ffmpeg streams, whatever the length.

    Args:
        source: the wav.
        target: the file to write; whole or not at all.
        kind:   what to write. Lossy kinds carry the delay of their encoder, which players cut off.
        ffmpeg: the program; None = search.

    Raises:
        EncodeError: ffmpeg failed.
        DiskFull: there is no room.
    """
    import ffmpeg as graph

    tidy = {"map_metadata": -1, "fflags": "+bitexact", "flags:a": "+bitexact"}
    with replacing(target) as temporary:
        sound: Any = graph.input(file_url(source), format="wav", protocol_whitelist="file")
        stream: Any = graph.output(sound, file_url(temporary), **_OPTIONS[kind], **tidy)
        run(command(find_ffmpeg(ffmpeg), stream))
