"""Runs that belong to another run: parts of a batch or of a pipeline."""

from typing import Final

PART_OF: Final = "part-of:"
"""Before the id of the run that made this one, as a tag of this one."""
