"""What runs refer to: their parents, the jobs they tell of, and inputs that are other jobs' or assets."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from flows.family import PART_OF
from flows.webhook_schemas import JOB_TAG

_JOBS: Final = re.compile(r"job://([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_ASSETS: Final = re.compile(r"asset://([A-Za-z0-9_-]{1,64})")


def parents_of(tags: Iterable[str]) -> set[UUID]:
    """
    Return the runs that a run says it is part of.

    Args:
        tags: of the run, anybody's.
    """
    return _ids(tags, PART_OF)


def owners_of(tags: Iterable[str]) -> set[UUID]:
    """
    Return the runs that a run is kept as long as: its parents, and the job that it tells of.

    Args:
        tags: of the run, anybody's.
    """
    known = list(tags)
    return _ids(known, PART_OF) | _ids(known, JOB_TAG)


def jobs_in(parameters: Mapping[str, Any]) -> set[UUID]:
    """Return the jobs whose files a run takes as inputs."""
    return {UUID(found) for found in _JOBS.findall(_text(parameters))}


def assets_in(parameters: Mapping[str, Any]) -> set[str]:
    """Return the ids of the assets that a run takes as inputs."""
    return set(_ASSETS.findall(_text(parameters)))


def _ids(tags: Iterable[str], prefix: str) -> set[UUID]:
    found: set[UUID] = set()
    for tag in tags:
        if tag.startswith(prefix):
            try:
                found.add(UUID(tag.removeprefix(prefix)))
            except ValueError:  # anybody may write tags
                continue
    return found


def _text(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, default=str)
