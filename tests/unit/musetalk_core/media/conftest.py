"""Small clips, made once a session with the ffmpeg that renders."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from musetalk_core.media.output.ffmpeg import find_ffmpeg


class Clips:
    """Makes files with ffmpeg; the same order gives the same file again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ffmpeg = find_ffmpeg()

    def make(self, name: str, *words: str | Path) -> Path:
        """Run ffmpeg with `words`; the output comes last, has this name and its own folder."""
        order = [str(word) for word in words]
        place = self.folder / hashlib.sha256("\0".join([name, *order]).encode()).hexdigest()[:12]
        target = place / name
        if not target.exists():
            place.mkdir(exist_ok=True)
            command = [str(self.ffmpeg), "-nostdin", "-v", "error", "-y", *order, str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return target

    def moving(
        self, name: str, *words: str, size: str = "160x120", rate: str = "25", seconds: float = 2
    ) -> Path:
        """A test picture that differs in every frame; `words` are output options."""
        source = f"testsrc2=s={size}:r={rate}:d={seconds},noise=alls=12:allf=t+u:all_seed=7"
        return self.make(name, "-f", "lavfi", "-i", source, *words)

    def flat(self, name: str, colour: str, filters: str, *words: str, size: str = "160x120") -> Path:
        """Six frames of one colour, `0xRRGGBB`, put through filters."""
        source = f"color=c={colour}:s={size}:r=25:d=0.24,format=rgb24,{filters}"
        return self.make(name, "-f", "lavfi", "-i", source, *words)

    def tone(self, name: str, *words: str, seconds: float = 1, rate: int = 44100) -> Path:
        """A 440 Hz tone."""
        return self.make(name, "-f", "lavfi", "-i", f"sine=440:r={rate}:d={seconds}", *words)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """The clip maker."""
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def float_wav() -> Callable[..., Path]:
    """Write a 32-bit float wav, which may hold anything."""

    def write(path: Path, samples: Sequence[float], rate: int = 16000) -> Path:
        data = np.asarray(samples, "<f4").tobytes()
        size, wide = len(data).to_bytes(4, "little"), (rate * 4).to_bytes(4, "little")
        head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        head += b"\x03\0\x01\0" + rate.to_bytes(4, "little") + wide + b"\x04\0\x20\0"
        path.write_bytes(head + b"data" + size + data)
        return path

    return write
