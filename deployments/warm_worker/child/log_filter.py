"""Filter of Prefect's log: omits lines that each step of each job repeats."""

import logging
from typing import Final

_STEP_LOGGER: Final = "prefect.task_runs"
_COMPLETED: Final = "Finished in state Completed("


def omit_repeated_lines() -> None:
    """
    Omit the line that Prefect writes at the end of each successful step.

    A job has a dozen steps and more; the line says nothing that the page of the run does not show. The end of
    the job itself, steps found in the cache and steps that failed are still logged.
    """
    logger = logging.getLogger(_STEP_LOGGER)
    logger.removeFilter(_is_informative)
    logger.addFilter(_is_informative)


def _is_informative(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not str(record.msg).startswith(_COMPLETED)
