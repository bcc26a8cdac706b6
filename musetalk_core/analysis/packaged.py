"""Files of starter models, looked at in full before they are loaded: packages are replaced by hand, too."""

from pathlib import Path

from musetalk_core.errors import WeightsInvalid
from musetalk_core.weights.layout import Layout
from musetalk_core.weights.verify import check


def trusted(layout: Layout, name: str) -> dict[str, Path]:
    """
    Find a model's files and compare their size and SHA-256 with what is recorded; for small models.

    Returns:
        Role -> path.

    Raises:
        ModelNotInstalled: a file is missing.
        WeightsInvalid: a file is not what it should be.
    """
    paths = layout.find(name)
    for file, path in layout.look(name).found.items():
        found = check(layout, file, path)
        if found.is_bad:
            raise WeightsInvalid(f"{path.name} of {name} {found.detail}; run ./run setup again.", model=name)
    return paths
