"""Temporary folders of symbolic links, for libraries that load all files of a folder as one model."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def linked_folder(files: Iterable[Path]) -> Generator[Path]:
    """
    Create a temporary folder of symbolic links to some files; it is removed on exit.

    Other files in a model's folder, such as weights under a name that the library prefers, are not part of
    the model's digest and must not be loaded.

    Args:
        files: names must differ.
    """
    with TemporaryDirectory(prefix="model-") as name:
        folder = Path(name)
        for file in files:
            (folder / file.name).symlink_to(file.resolve())
        yield folder
