"""Search the texts of the repository for phrases that the documentation does not use."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PHRASES = (
    "that is to be", "what came of", "is told", "told of", "whoever", "nobody", "of ours", "lies in",
    "stands in", "let go", "for want of", "in the way", "a card", "done anew", "has had its time", "goes on",
    "looks at",
)  # fmt: skip
GAP = r"""(?:\s|["'#]|f(?="))+"""
"""What may separate two words: white space, a new comment line or the next part of a string."""

PATTERNS = {phrase: re.compile(rf"\b{phrase.replace(' ', GAP)}\b", re.IGNORECASE) for phrase in PHRASES} | {
    # "if there is none" and the Python value None are fine
    "none as a predicate": re.compile(rf"(?<!there )\b(?:is|are|was|were|be){GAP}none\b"),
}
NAME_IN_BRACES = re.compile(r"\{[A-Za-z_]\w*\}")
PRONOUN = re.compile(r"\s*(?:It|They|He|She|We|You|I|This|That|These|Those|What|Who|Whom|Whose|Which)\b")
TEXTS = {"", ".md", ".py", ".toml", ".yaml", ".yml", ".json", ".example", ".html", ".js"}
LEFT_OUT = {
    "docs/LOG.md": "notes of measurements, not rewritten later",
    "tests/support/wording.py": "lists the phrases",
    "tests/repo/test_wording.py": "uses the phrases",
}
ALLOWED: dict[tuple[str, str], str] = {
    ("deployments/provisioning/automations.py", "told of"): "automations on servers of earlier versions",
    ("tests/unit/deployments/provisioning/test_automations.py", "told of"): "the same names",
    ("tests/api/test_command_line.py", "nobody"): "the name of a file",
    ("tests/api/test_job_store.py", "nobody"): "a tenant, and a text to speak",
    ("tests/benchmarks/sync.py", "nobody"): "a sentence to speak",
    ("tests/e2e/test_s3_stack.py", "nobody"): "the name of an object",
    ("tests/flow/test_hostile_input.py", "nobody"): "the name of a file",
    ("tests/flow/test_janitor.py", "nobody"): "part of an invalid tag",
    ("tests/support/pictures.py", "nobody"): "a page of text to read",
    ("tests/support/pictures.py", "whoever"): "a page of text to read",
    ("tests/unit/deployments/warm_worker/test_warm_worker.py", "nobody"): "the kind of an invalid message",
    ("tests/unit/musetalk_core/transcription/test_transcribe.py", "nobody"): "a sentence to transcribe",
}
"""(path, phrase) -> why it stays, for example a message of the compatibility routes that must not change."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase and where it was found."""

    path: str
    line: int
    phrase: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase}"


def files() -> list[str]:
    """Return the text files of the checkout: tracked ones, and new ones that git does not ignore."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    names = {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}
    return sorted(
        name
        for name in names
        if Path(name).suffix in TEXTS
        and not Path(name).name.startswith("LICENSE")
        and name not in LEFT_OUT
        and not name.startswith("tests/assets/")
    )


def hits(name: str) -> Iterator[Hit]:
    """Yield the phrases in one file of the checkout."""
    return found(name, (ROOT / name).read_text(encoding="utf-8"))


def found(name: str, text: str) -> Iterator[Hit]:
    """Yield the phrases in a text; of Python files, only comments and strings are searched."""
    is_python = name.endswith(".py")
    searched = _words_of_python(text) if is_python else text
    for phrase, pattern in PATTERNS.items():
        for match in pattern.finditer(searched):
            yield Hit(name, searched.count("\n", 0, match.start()) + 1, phrase)
    if is_python:
        for line, docstring in _docstrings(text):
            if PRONOUN.match(docstring):
                yield Hit(name, line, f"docstring begins with a pronoun: {docstring.split()[0]}")


def _words_of_python(source: str) -> str:
    r"""Return the source with everything but comments, strings and line ends replaced by \0."""
    lines = source.splitlines(keepends=True)
    kept = [["\n" if char == "\n" else "\0" for char in line] for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT and "STRING" not in tokenize.tok_name[token.type]:
            continue
        (first, begin), (last, end) = token.start, token.end
        for number in range(first, last + 1):
            line = lines[number - 1]
            left = begin if number == first else 0
            right = end if number == last else len(line)
            # {name} in an f-string is code: one token of the string up to Python 3.11
            kept[number - 1][left:right] = NAME_IN_BRACES.sub(_blank, line[left:right])
    return re.sub(r"(?m)^\0+(?=[\"'#f])", lambda match: " " * len(match[0]), "".join(map("".join, kept)))


def _blank(match: re.Match[str]) -> str:
    r"""Return as many \0 as the match has characters."""
    return "\0" * len(match[0])


def _docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the strings that stand alone as a statement, with their lines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                yield node.lineno, text
            case _:
                pass
