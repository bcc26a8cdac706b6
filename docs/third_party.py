"""Write the table of THIRD_PARTY.md: every package of an installation with the licence in its metadata."""

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "THIRD_PARTY.md"
BEGIN = "<!-- generated: python docs/third_party.py -->\n"


def declared() -> list[Requirement]:
    """Return the requirements of the project and of all its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    return [Requirement(text) for text in texts]


def installed_parts() -> dict[str, Distribution]:
    """Return the installed distributions that the project needs, directly or not, by normalized name."""
    found: dict[str, Distribution] = {}
    waiting = declared()
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        try:
            part = distribution(name)
        except PackageNotFoundError:  # for another platform, or left out on purpose
            continue
        is_new = name not in found
        found[name] = part
        if not (is_new or need.extras):
            continue
        for text in part.requires or ():
            inner = Requirement(text)
            extras = need.extras or {""}
            applies = inner.marker is None or any(inner.marker.evaluate({"extra": one}) for one in extras)
            if applies and canonicalize_name(inner.name) not in found:
                waiting.append(inner)
    return found


def licence(part: Distribution) -> str:
    """Return the licence in the metadata of a distribution: expression, classifiers, or the first line."""
    metadata = part.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        text.rsplit(" :: ", 1)[-1]
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    text = ", ".join(dict.fromkeys(classifiers)) or (metadata.get("License") or "").strip().split("\n")[0]
    return re.sub(r"[|\s]+", " ", text)[:80].strip() or "see the package"


def table() -> str:
    """Return the table of packages as Markdown."""
    rows = [f"| {name} | {licence(part)} |" for name, part in sorted(installed_parts().items())]
    return "\n".join([BEGIN.strip(), "", "| Package | Licence |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    head = TARGET.read_text().partition(BEGIN)[0]
    TARGET.write_text(head + table())
    sys.stdout.write(f"{TARGET.name} written\n")
