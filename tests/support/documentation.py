"""
The blocks of README.md and docs, and the shell that runs those that are commands.

A comment directly before a block says how it is tested:

    <!-- not run: reason -->     neither run nor checked
    <!-- fails: reason -->       commands of which the last one has to fail
    <!-- given: job -->          commands that use variables which the page does not set
    <!-- body: POST /v1/… -->    JSON, the body of a request to this route
    <!-- schema: NAME -->        JSON, an instance of this schema in docs/api/openapi.json

A block of commands without a comment is run; a block of JSON needs one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>[a-z ]+): (?P<text>[^\n]*?) -->\n)?```(?P<language>[^\s`]*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    body: str
    kind: str = ""
    text: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_in(text: str, page: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text[: found.start("language")].count("\n") + 1
        kind, reason = found["kind"] or "", found["text"] or ""
        yield Block(page, line, found["language"], found["body"], kind, reason)


def blocks(language: str) -> list[Block]:
    """All blocks of a language, page by page."""
    read = ((name_of(page), page.read_text(encoding="utf-8")) for page in PAGES)
    return [block for page, text in read for block in blocks_in(text, page) if block.language == language]


def commands() -> Mapping[str, list[Block]]:
    """The blocks that run, by page."""
    pages: dict[str, list[Block]] = {}
    for block in blocks("bash"):
        if block.kind != "not run":
            pages.setdefault(block.page, []).append(block)
    return pages


def script(page: list[Block]) -> str:
    """One shell script of the blocks of a page, which says where it is."""
    lines = ["set -euo pipefail"]
    for block in page:
        lines.append(f'echo "## {block.place} after $SECONDS s"')
        if block.kind == "given":
            lines += [f': "${{{name.strip()}:?is not given}}"' for name in block.text.split(",")]
        if block.kind == "fails":
            lines += ["if (", block.body, f"); then echo '{block.place} was expected to fail'; exit 1; fi"]
        else:
            lines.append(block.body)
    return "\n".join(lines)


RUN = """#!/bin/sh
# ./run without its setup: the Python of the tests has everything
[ "$1" = demo ] || [ "$1" = musetalk ] || { echo "./run $1 is not for this test" >&2; exit 2; }
[ "$1" = demo ] || shift
exec "@PYTHON@" -P -m deployments.cli "$@"
"""
CURL = """#!/bin/sh
# an HTTP error fails, as the reader would take it
exec "@CURL@" --fail-with-body --noproxy '*' "$@"
"""


class Shell:
    """A folder that looks like a checkout, and a home, in which the commands of a page run."""

    def __init__(
        self, folder: Path, home: Path | None = None, ports: Mapping[int, int] | None = None
    ) -> None:
        """
        Create the folders.

        Args:
            folder: an empty folder for both.
            home:   data of the running system, which the pages call ~/.musetalk.
            ports:  documented port -> real port.
        """
        self.checkout, self._bin, person = folder / "musetalk-flows", folder / "bin", folder / "person"
        for made in (self.checkout, self._bin, person):
            made.mkdir(parents=True)
        for entry in ROOT.iterdir():
            if entry.name not in {"run", "demo", ".git", ".venv"}:
                (self.checkout / entry.name).symlink_to(entry)
        (self.checkout / ".venv").symlink_to(sys.prefix)
        if home is not None:
            (person / ".musetalk").symlink_to(home)
        curl = shutil.which("curl")
        self._program(self.checkout / "run", RUN.replace("@PYTHON@", sys.executable))
        self._program(self._bin / "curl", CURL.replace("@CURL@", str(curl)))
        self._ports = ports or {}
        # nothing of the person's own: settings, proxies, profiles of Prefect
        dropped = re.compile(r"(PREFECT|MUSETALK|AWS)_.*|.*_proxy", re.IGNORECASE)
        own = {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}
        self._environment = own | {
            "HOME": str(person),
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DO_NOT_TRACK": "1",
        }

    def run(self, text: str, given: Mapping[str, str] | None = None, limit_s: float = 900) -> tuple[int, str]:
        """Run a script; return its exit status and what it printed."""
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", self._here(text)],
            cwd=self.checkout,
            env=self._environment | dict(given or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=limit_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return process.returncode, out

    def _here(self, text: str) -> str:
        """The documented addresses, 127.0.0.1:8080 and :4200, become those of the running system."""
        for documented, real in self._ports.items():
            text = text.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{real}")
        return text

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)
