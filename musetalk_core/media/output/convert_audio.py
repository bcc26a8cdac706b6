"""Convert WAV files to MP3, FLAC or Ogg Vorbis with ffmpeg."""

from pathlib import Path
from typing import Any, Final, Literal

from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.media.output.ffmpeg import build_command, file_url, find_ffmpeg, run_ffmpeg
from musetalk_core.media.output.tags import MediaTags, metadata_options

AudioFormat = Literal["mp3", "wav", "flac", "ogg"]

_OPTIONS: Final[dict[AudioFormat, dict[str, Any]]] = {
    "mp3": {"format": "mp3", "c:a": "libmp3lame", "q:a": 2},
    "wav": {"format": "wav", "c:a": "pcm_s16le"},
    "flac": {"format": "flac", "c:a": "flac"},
    "ogg": {"format": "ogg", "c:a": "libvorbis", "q:a": 6},
}


def convert_wav(
    source: Path,
    target: Path,
    kind: AudioFormat,
    *,
    ffmpeg: Path | None = None,
    tags: MediaTags | None = None,
) -> None:
    """
    Convert a WAV file that this program wrote to another format, at the same sample rate.

    Memory use does not grow with the length.

    Args:
        source: the .wav file.
        target: the file to write; written atomically.
        kind:   output format. Lossy formats start with the encoder's delay, which players skip.
        ffmpeg: the ffmpeg program; None = search for it.
        tags:   title and comment of the file; None = none.

    Raises:
        EncodeError: ffmpeg failed.
        DiskFull: the disk is full.
    """
    import ffmpeg as graph

    reproducible_options = {"map_metadata": -1, "fflags": "+bitexact", "flags:a": "+bitexact"}
    with replace_atomically(target) as temporary:
        wav_input: Any = graph.input(file_url(source), format="wav", protocol_whitelist="file")
        stream: Any = graph.output(
            wav_input, file_url(temporary), **_OPTIONS[kind], **reproducible_options, **metadata_options(tags)
        )
        run_ffmpeg(build_command(find_ffmpeg(ffmpeg), stream))
