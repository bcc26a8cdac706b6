"""
The recipes of CONTRIBUTING.md, a copy of the checkout in which tests follow them, and files that they add.

A recipe is a section `## Add ...` with numbered steps. A test names the step of each change, and the step has
to name the file or the command.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
_PATH = re.compile(r"[\w.-]+(?:/[\w.*<>-]+)*/?")
_SUFFIXES = (".py", ".md", ".yaml", ".toml", ".json", ".example")
_COPIED_ASSETS = ("tests/assets/", "docs/images/")
"""Folders of media, which no recipe reads."""


@dataclass(frozen=True)
class Recipe:
    """A section of CONTRIBUTING.md: its heading and its numbered steps."""

    heading: str
    steps: tuple[str, ...]

    def step(self, number: int) -> str:
        """Return the text of a step; the first has the number 1."""
        return self.steps[number - 1]

    def code(self, number: int) -> list[str]:
        """Return the code that a step quotes."""
        return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", self.step(number))]

    def paths(self, number: int | None = None) -> set[str]:
        """Return the files and folders that a step names, or all steps."""
        if number is None:
            return set().union(*(self.paths(one) for one in range(1, len(self.steps) + 1)))
        words = [word for code in self.code(number) for word in code.split()]
        words += [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", self.step(number))]
        return {word for word in words if _PATH.fullmatch(word) and ("/" in word or word.endswith(_SUFFIXES))}


def recipes() -> dict[str, Recipe]:
    """Return the recipes of CONTRIBUTING.md by heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (Add an? [^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return {heading: Recipe(heading, tuple(_steps(body))) for heading, body in sections}


def _steps(body: str) -> Iterator[str]:
    found = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^\S(?<!\d)|\Z)", body + "\n", re.MULTILINE | re.DOTALL)
    numbers = [int(number) for number, _ in found]
    assert numbers == list(range(1, len(found) + 1)), f"steps of a recipe are numbered {numbers}"
    return (step for _, step in found)


class Checkout:
    """A copy of the checkout, changed as a recipe says; `restore` takes the changes back."""

    def __init__(self, folder: Path) -> None:
        """Copy the files that git knows or does not ignore; without git, all but .git and .venv."""
        self.folder = folder / "checkout"
        for name in _file_names():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        dropped = re.compile(r"(PREFECT|MUSETALK|AWS|PYTHON|API)_?.*|PORT|.*_proxy", re.IGNORECASE)
        own = {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}
        self.environment = own | {
            "PYTHONPATH": str(self.folder),
            "MUSETALK_HOME": str(folder / "home"),
            "MUSETALK_STORE__MIN_FREE_BYTES": "0",
            "PREFECT_HOME": str(folder / "prefect"),
            "DO_NOT_TRACK": "1",
        }
        self._texts = {path: path.read_bytes() for path in self._text_files()}
        self.recipe = Recipe("", ())

    def restore(self) -> None:
        """Take back all changes of a recipe."""
        for path in self._text_files():
            if path not in self._texts:
                path.unlink()
            elif path.read_bytes() != self._texts[path]:
                path.write_bytes(self._texts[path])

    def _text_files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file()]

    def path(self, step: int, name: str) -> Path:
        """Return the path of a file that a step changes: it names the file, or the folder of it."""
        named = {one.replace("<name>", "still").rstrip("/") for one in self.recipe.paths(step)}
        folders = {str(folder) for folder in Path(name).parents}
        assert named & {name, *folders}, f"{self.recipe.heading}, step {step} does not name {name}"
        return self.folder / name

    def write(self, step: int, name: str, text: str) -> None:
        """Add a file that a step names. It contains the code that the step quotes."""
        path = self.path(step, name)
        assert not path.exists(), f"{name} exists"
        missing = [code for code in self.recipe.code(step) if "(" in code and code not in text]
        assert missing == [], f"{name} does not contain {missing}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def insert(self, step: int, name: str, before: str, text: str) -> None:
        """Insert a text before a place in a file that a step names."""
        self.replace(step, name, before, text + before)

    def append(self, step: int, name: str, text: str) -> None:
        """Append a text to a file that a step names."""
        path = self.path(step, name)
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def replace(self, step: int, name: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text in a file that a step names."""
        path = self.path(step, name)
        before = path.read_text(encoding="utf-8")
        assert old in before, f"{name} has no {old!r}"
        path.write_text(before.replace(old, new, 1), encoding="utf-8")

    def follow(self, step: int, *commands: str) -> None:
        """Run commands that a step names, at the same time; all have to succeed."""
        for command in commands:
            assert command in self.recipe.code(step), f"step {step} does not name {command}"
        for command, (status, said) in zip(commands, self.run(*commands), strict=True):
            assert status == 0, f"{command}\n{said}"

    def run(self, *commands: str, **variables: str) -> list[tuple[int, str]]:
        """Run commands at the same time; return the exit status and the output of each."""
        started = [
            subprocess.Popen(
                ["sh", "-c", command.replace("python ", f"'{sys.executable}' ", 1)],
                cwd=self.folder,
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in commands
        ]
        outputs = [process.communicate(timeout=300)[0] for process in started]
        return [(process.returncode, said) for process, said in zip(started, outputs, strict=True)]

    def python(self, script: str, **variables: str) -> str:
        """Run a script that has to succeed; return its output."""
        text = "import flows\nassert flows.__path__[0].startswith(__import__('os').getcwd())\n"
        (self.folder / "check.py").write_text(text + dedent(script), encoding="utf-8")
        ((status, said),) = self.run("python check.py", **variables)
        assert status == 0, said
        return said


def _file_names() -> Iterator[str]:
    """Yield the files to copy; files of deleted or renamed modules may be missing."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
        names = set(done.stdout.split("\0"))
    except (OSError, subprocess.CalledProcessError):
        left_out = {".git", ".venv", "__pycache__", ".hypothesis", "demo", "site"}
        every = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        names = {str(path) for path in every if not left_out & set(path.parts)}
    for name in names:
        if name and not name.startswith(_COPIED_ASSETS) and (ROOT / name).is_file():
            yield name


# Add a job type

DUB_SCHEMAS = '''"""Request and result schemas of the dub job. Pure pydantic."""

from pydantic import BaseModel, Field

from flows.schemas.base import JobParameters


class DubJob(JobParameters):
    """Repeat a text."""

    text: str = Field(title="Text", description="Text to repeat.", max_length=100, examples=["Good morning."])
    times: int = Field(
        default=2, ge=1, le=9, title="Repetitions", description="Number of repetitions.", examples=[2]
    )


class DubResult(BaseModel):
    """A repeated text."""

    text: str
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
'''
DUB_FLOW = '''"""The `dub` flow: repeat a text."""

from prefect import flow

from flows.media.context import job_context
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.dub import DubJob, DubResult
from tasks.run.reports import phase


@flow(name="dub", **FLOW_OPTIONS)
def dub(job: DubJob, control: Control = DEFAULT_CONTROL) -> DubResult:
    """Repeat the text."""
    with job_context(job) as context:
        with phase("speak"):
            text = " ".join([job.text] * job.times)
        result = DubResult(text=text, timings_s=context.timings())
        context.finish(result)
    return result
'''
DUB_ENTRY = """
  - name: Dubbing
    entrypoint: flows.dub.dub
    description: Repeat a text.
    tags: [job, audio]
    work_pool: *gpu
"""
DUB_TEST = """from flows.dub import dub
from flows.schemas.dub import DubJob


def test_a_text_is_repeated(home):
    assert dub(DubJob(text="Hello.")).text == "Hello. Hello."
"""

# Add a model

TINT_MODEL = """    Model(
        "tint",
        "Tint: made up by a test",
        "CC0-1.0",
        "someone/tint",
        (File("tint/tint.json", "weights", Hub("someone/tint", "tint.json"), 20),),
    ),
"""

# Add a route

REQUIRED_FIELDS_MODEL = '''"""Response model of the required fields of a job type."""

from pydantic import BaseModel, Field


class RequiredFieldsView(BaseModel):
    """The required fields of a job type."""

    type: str = Field(description="Job type.")
    fields: list[str] = Field(description="Names of the required fields.")
'''
REQUIRED_FIELDS_ROUTE = '''

@router.get("/{job_type}/required", dependencies=[READ])
async def read_required_fields(job_type: str) -> RequiredFieldsView:
    """Return the required fields of a job type."""
    entry = JOB_TYPES.get(job_type)
    if entry is None:
        raise Problem("not_found", f"Unknown job type. Known types: {', '.join(JOB_TYPES)}.")
    fields = [name for name, field in entry.job.model_fields.items() if field.is_required()]
    return RequiredFieldsView(type=entry.name, fields=fields)
'''

# Add a setting

SHARPNESS_SETTING = """    sharpness: float = Field(
        default=0.0, ge=0, le=1, description="Sharpening of rendered frames. 0: none."
    )
"""
