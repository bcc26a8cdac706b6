"""How runs say that they belong together."""

from typing import Final

PART_OF: Final = "part-of:"
"""Before the id of the run that a run was started for, as a tag of it: a batch's rows, a pipeline's steps."""
