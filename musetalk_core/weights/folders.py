"""Models that libraries load by folder: they see the files of the table of models and nothing beside them."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def only_these(files: Iterable[Path]) -> Generator[Path]:
    """
    Give a folder of links to some files, for as long as the block runs.

    What a library finds in a model's own folder beyond these, such as weights under another name that it
    prefers, is not part of the model's digest and must not be loaded.

    Args:
        files: with different names.
    """
    with TemporaryDirectory(prefix="model-") as name:
        folder = Path(name)
        for file in files:
            (folder / file.name).symlink_to(file.resolve())
        yield folder
