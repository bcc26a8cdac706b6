"""Programs that answer as other builds of ffmpeg do."""

from pathlib import Path

ENCODERS = """Encoders:
 V..... = Video
 ------
 V....D libx264              libx264 H.264 / AVC (codec h264)
 A....D aac                  AAC (Advanced Audio Coding)
"""


def write_ffmpeg(path: Path, version: str, encoders: str = ENCODERS) -> Path:
    """Write a program that tells this version and these encoders, and renders nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""#!/bin/sh
case "$*" in
  *-version*) echo "ffmpeg version {version} Copyright (c) 2000-2022 the FFmpeg developers" ;;
  *-encoders*) cat <<'LIST'
{encoders}LIST
  ;;
  *) exit 1 ;;
esac
"""
    )
    path.chmod(0o755)
    return path
