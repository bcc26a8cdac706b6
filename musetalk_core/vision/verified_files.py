"""Verification of bundled model files (size, SHA-256) before loading; packages may be replaced by hand."""

from pathlib import Path

from musetalk_core.errors import WeightsInvalid
from musetalk_core.installation import setup_command
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.model_registry.verify import check_file


def verify_bundled(layout: LocalModels, name: str) -> dict[str, Path]:
    """
    Find the files of a model and check size and SHA-256 of each; for small models, since all bytes are read.

    Returns:
        Path of each file by role.

    Raises:
        ModelNotInstalled: a file is missing.
        WeightsInvalid: a file differs from its record in the model registry.
    """
    paths = layout.find(name)
    for file, path in layout.status(name).paths.items():
        result = check_file(layout, file, path)
        if result.is_bad:
            raise WeightsInvalid(
                f"{path.name} of {name} {result.detail}. Run again: {setup_command()}", model=name
            )
    return paths
