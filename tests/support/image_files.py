"""The Dockerfile as stages of instructions, and the compose file as Docker reads it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word):
        return [rest for instruction, rest in self.instructions if instruction == word]


def stages():
    """The stages by name; each has the instructions of those it is built on, too."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text()))
    made: dict[str, Stage] = {}
    stage = Stage("", "")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            before = made[base].instructions if base in made else []
            stage = made[name] = Stage(name, base, list(before))
        else:
            stage.instructions.append((word, " ".join(rest.split())))
    return made


def environment(stage):
    """Return the environment of a stage's container, with the defaults of build arguments."""
    found = {}
    for word, rest in stage.instructions:
        if word in ("ARG", "ENV"):
            for pair in rest.split():
                name, _, value = pair.partition("=")
                found[name] = (word, filled(value, {known: value for known, (_, value) in found.items()}))
    return {name: value for name, (word, value) in found.items() if word == "ENV"}


def filled(text, variables):
    """Text with its `${NAME}` replaced."""
    return re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], text)


def command(stage):
    return json.loads(stage.all("CMD")[-1])


def compose(name="compose.yaml", **variables):
    """A compose file with `${NAME:-default}` and `${NAME:?…}` filled in; what is missing is an error."""

    def value(match):
        name, mark, rest = match.groups()
        if variables.get(name):
            return variables[name]
        assert mark == ":-", f"{name} is not set"
        return rest

    text = (ROOT / "deployments" / name).read_text()
    return yaml.safe_load(re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text))
