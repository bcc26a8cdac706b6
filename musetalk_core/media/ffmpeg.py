"""Finding and running the ffmpeg program: argument lists, its own words in the error, never left behind."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from musetalk_core.errors import DiskFull, EncodeError, EncoderKilled, RenderError

_GLOBAL = ["-nostdin", "-hide_banner", "-v", "error", "-y"]
_KEPT_LINES, _KEPT_BYTES = 50, 500
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_FULL_WORDS = ("No space left on device", "File too large", "Disk quota exceeded")
_KILL_WAIT_S = 10.0


def find_ffmpeg(explicit: Path | None = None) -> Path:
    """
    Find the ffmpeg program: the one named, else the one on the PATH, else the one the Python package brings.

    Raises:
        EncodeError: there is none.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise EncodeError(f"There is no ffmpeg program at the configured place ({explicit.name}).")
        return explicit
    on_path = shutil.which("ffmpeg")
    if on_path:
        return Path(on_path)
    import imageio_ffmpeg

    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise EncodeError("No ffmpeg program was found; install ffmpeg.") from error


def command(binary: Path, stream: Any) -> list[str]:
    """
    Build the argument list of an ffmpeg-python graph.

    Args:
        binary: the ffmpeg program.
        stream: what `ffmpeg.output(...)` gave.
    """
    words: list[str] = stream.compile(cmd=str(binary))
    return [words[0], *_GLOBAL, *words[1:]]


def file_url(path: Path) -> str:
    """Name a file so that no character of its name means anything to ffmpeg."""
    return f"file:{path.absolute()}"


class Process:
    """
    A running ffmpeg in its own process group; leaving the `with` block early kills it and waits for it.

    Attributes:
        stdin: where to write, None unless asked for.
    """

    def __init__(self, words: list[str], *, feeds: bool = False) -> None:
        """
        Start it.

        Args:
            words: the argument list, the program first.
            feeds: True to get a `stdin`.
        """
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,  # in our process group: who ends that ends it too
        )
        self.stdin = self._process.stdin
        self._said: list[str] = []
        self._killed = False
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                if len(self._said) < _KEPT_LINES:
                    self._said.append(_ADDRESS.sub("", line[:_KEPT_BYTES].decode("utf-8", "replace")).strip())

    def finish(self, deadline_s: float) -> None:
        """
        Close its input and wait for it to end well.

        Raises:
            DiskFull: it ran out of room.
            EncodeError: it failed or did not end in time.
        """
        try:
            if self.stdin is not None:
                self.stdin.close()
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise EncodeError(f"ffmpeg did not finish within {deadline_s:.0f} seconds.") from error
        except BrokenPipeError:
            self._process.wait(_KILL_WAIT_S)
        if self._process.returncode:
            raise self.failure()

    def failure(self) -> RenderError:
        """Describe why it ended or broke its pipe; kills it first if it still runs."""
        self.kill()
        # The first line names the cause; those after it say what came of that.
        cause = next((line for line in self._said if line), "no message")
        is_full = any(words in line for line in self._said for words in _FULL_WORDS)
        if is_full or self._process.returncode == -signal.SIGXFSZ:
            return DiskFull(
                "The video could not be written: the disk or a size limit is full; free some space."
            )
        status = self._process.returncode
        if status is not None and status < 0 and not self._killed:
            return EncoderKilled(
                f"ffmpeg was ended by signal {-status}: perhaps the memory was full; try again.",
                returncode=status,
            )
        return EncodeError(f"ffmpeg failed: {cause}", returncode=status)

    def kill(self) -> None:
        """End it, and wait until it is gone."""
        if self._process.poll() is None:
            try:
                # Give a dying process the time to say why before it is killed.
                self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                self._killed = True
                self._process.kill()
                self._process.wait(_KILL_WAIT_S)
        self._listener.join(_KILL_WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stdin is not None:
            with suppress(OSError):  # the pipe may be broken already
                self.stdin.close()
        self.kill()


def run(words: list[str], *, deadline_s: float = 3600.0) -> None:
    """
    Run ffmpeg to its end.

    Args:
        words:      the argument list, the program first.
        deadline_s: it is killed after so many seconds.

    Raises:
        DiskFull: it ran out of room.
        EncodeError: it failed or took too long.
    """
    with Process(words) as process:
        process.finish(deadline_s)
