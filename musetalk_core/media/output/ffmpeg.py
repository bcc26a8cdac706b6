"""Find and run the ffmpeg program: argument lists, error messages from its stderr, guaranteed termination."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from musetalk_core.errors import DiskFull, EncodeError, EncoderKilled, RenderError
from musetalk_core.runtime.program_observer import program_started

_GLOBAL_OPTIONS = ["-nostdin", "-hide_banner", "-v", "error", "-y"]
_MAX_STDERR_LINES, _MAX_STDERR_LINE_BYTES = 50, 500
_POINTER_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_DISK_FULL_MESSAGES = ("No space left on device", "File too large", "Disk quota exceeded")
_KILL_WAIT_S = 10.0
_FONT_MESSAGES = ("[Parsed_ass", "[Parsed_subtitles")
"""Starts of lines that are never the cause of a failure: libass reports fonts that it tries."""
_VERSION = re.compile(r"ffmpeg version (?P<text>n?(?P<release>\d{1,2}\.\d+)?\S*)")

MIN_FFMPEG_VERSION: Final = (6, 0)
"""The oldest ffmpeg that is used: the tests need options that came with it."""


def find_ffmpeg(explicit: Path | None = None) -> Path:
    """
    Return the ffmpeg program: the explicit one, else the one that imageio-ffmpeg brings.

    An ffmpeg on the PATH is used only on platforms for which imageio-ffmpeg has none, so that the same
    installation renders with the same version everywhere.

    Raises:
        EncodeError: no ffmpeg program was found.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise EncodeError(f"There is no ffmpeg program at the configured path ({explicit.name}).")
        return explicit
    import imageio_ffmpeg

    try:
        found = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise EncodeError("No ffmpeg program was found; install ffmpeg.") from error
    return Path(shutil.which(found) or found)


def require_ffmpeg(explicit: Path | None = None) -> tuple[Path, str]:
    """
    Return the program that `find_ffmpeg` finds, and its version as text, if it can encode results.

    A version that is no release number, such as that of a development build, is taken as it is.

    Raises:
        EncodeError: no program was found, it does not run, it is older than MIN_FFMPEG_VERSION, or lacks an
            encoder that is needed.
    """
    binary = find_ffmpeg(explicit)
    found = _VERSION.match(_ask(binary, "-version"))
    if found is None:
        raise EncodeError(f"{binary} is no ffmpeg program: it does not tell its version.")
    version, release = found["text"], found["release"]
    least = ".".join(map(str, MIN_FFMPEG_VERSION))
    if release and tuple(map(int, release.split("."))) < MIN_FFMPEG_VERSION:
        raise EncodeError(f"{binary} is ffmpeg {version}; version {least} or later is required.")
    encoders = set(re.findall(r"^ [A-Z.]{6} (\S+)", _ask(binary, "-encoders"), re.MULTILINE))
    if missing := [name for name in ("libx264", "aac") if name not in encoders]:
        raise EncodeError(
            f"{binary} has no encoder {', '.join(missing)}; a full build of ffmpeg is required."
        )
    return binary, version


def _ask(binary: Path, question: str) -> str:
    try:
        asked = [str(binary), "-hide_banner", question]
        return subprocess.run(
            asked, capture_output=True, text=True, errors="replace", timeout=180, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EncodeError(f"{binary} cannot be run as ffmpeg ({type(error).__name__}).") from error


def build_command(binary: Path, stream: Any) -> list[str]:
    """
    Build the argument list for an ffmpeg-python graph.

    Args:
        binary: the ffmpeg program.
        stream: result of `ffmpeg.output(...)`.
    """
    arguments: list[str] = stream.compile(cmd=str(binary))
    return [arguments[0], *_GLOBAL_OPTIONS, *arguments[1:]]


def file_url(path: Path) -> str:
    """Return a `file:` URL, so that ffmpeg does not interpret any character of the path."""
    return f"file:{path.absolute()}"


class FfmpegProcess:
    """
    A running ffmpeg process. Leaving the `with` block kills it, if it still runs, and waits for it.

    Attributes:
        stdin: pipe to the process; None without `has_stdin`.
    """

    def __init__(self, arguments: list[str], *, has_stdin: bool = False) -> None:
        """
        Start the process.

        Args:
            arguments: the argument list, the program first.
            has_stdin: True to open a pipe to its standard input.
        """
        self._report_end = program_started("ffmpeg")
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if has_stdin else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,  # no new session: a signal to this process group also ends ffmpeg
        )
        self.stdin = self._process.stdin
        self._stderr_lines: list[str] = []
        self._was_killed = False
        self._stderr_thread = threading.Thread(
            target=self._read_stderr, args=(self._process.stderr,), daemon=True
        )
        self._stderr_thread.start()

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                if len(self._stderr_lines) < _MAX_STDERR_LINES:
                    self._stderr_lines.append(
                        _POINTER_ADDRESS.sub(
                            "", line[:_MAX_STDERR_LINE_BYTES].decode("utf-8", "replace")
                        ).strip()
                    )

    @property
    def messages(self) -> list[str]:
        """The first 50 lines that ffmpeg wrote to its stderr."""
        return list(self._stderr_lines)

    def finish(self, timeout_s: float) -> None:
        """
        Close the process's input and wait until it exits successfully.

        Raises:
            DiskFull: the disk is full.
            EncodeError: ffmpeg failed or did not finish in time.
        """
        try:
            if self.stdin is not None:
                self.stdin.close()
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EncodeError(f"ffmpeg did not finish within {timeout_s:.0f} seconds.") from error
        except BrokenPipeError:
            self._process.wait(_KILL_WAIT_S)
        if self._process.returncode:
            raise self.failure()

    def failure(self) -> RenderError:
        """
        Kill ffmpeg if it still runs, and return the error that describes its failure.

        Returns:
            DiskFull if the disk or a file size limit is full, EncoderKilled if another process or the system
            killed ffmpeg, else EncodeError with the first line of its stderr.
        """
        self.kill()
        # The first line names the cause; the lines after it are consequences.
        lines = [line for line in self._stderr_lines if line and not line.startswith(_FONT_MESSAGES)]
        cause = next(iter(lines), "no message")
        is_disk_full = any(words in line for line in self._stderr_lines for words in _DISK_FULL_MESSAGES)
        if is_disk_full or self._process.returncode == -signal.SIGXFSZ:
            return DiskFull(
                "The video could not be written: the disk or a size limit is full; free some space."
            )
        status = self._process.returncode
        if status is not None and status < 0 and not self._was_killed:
            return EncoderKilled(
                f"ffmpeg was killed by signal {-status}, possibly because memory ran out; try again.",
                returncode=status,
            )
        return EncodeError(f"ffmpeg failed: {cause}", returncode=status)

    def kill(self) -> None:
        """Kill the process, if it runs, and wait until it has ended."""
        if self._process.poll() is None:
            try:
                # Give a process that is exiting the time to write its error message.
                self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                self._was_killed = True
                self._process.kill()
                self._process.wait(_KILL_WAIT_S)
        self._stderr_thread.join(_KILL_WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stdin is not None:
            with suppress(OSError):  # the pipe may be broken already
                self.stdin.close()
        self.kill()
        self._report_end(self._process.returncode == 0)


def run_ffmpeg(arguments: list[str], *, timeout_s: float = 3600.0) -> None:
    """
    Run ffmpeg until it exits.

    Args:
        arguments: the argument list, the program first.
        timeout_s: ffmpeg is killed after this many seconds.

    Raises:
        DiskFull: the disk is full.
        EncodeError: ffmpeg failed or did not finish in time.
    """
    with FfmpegProcess(arguments) as process:
        process.finish(timeout_s)
