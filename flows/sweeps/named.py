"""References of a run: its parents, the job that it reports, and other jobs and assets used as inputs."""

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
    Return the runs that a run is a child job of, from its tags.

    Args:
        tags: tags of the run, which may be set by users.
    """
    return _ids(tags, PART_OF)


def owners_of(tags: Iterable[str]) -> set[UUID]:
    """
    Return the runs that a run is kept with: its parents, and the job that it reports.

    Args:
        tags: tags of the run, which may be set by users.
    """
    known = list(tags)
    return _ids(known, PART_OF) | _ids(known, JOB_TAG)


def jobs_in(parameters: Mapping[str, Any]) -> set[UUID]:
    """Return the jobs whose outputs a run uses as inputs."""
    return {UUID(found) for found in _JOBS.findall(_text(parameters))}


def assets_in(parameters: Mapping[str, Any]) -> set[str]:
    """Return the ids of the assets that a run uses as inputs."""
    return set(_ASSETS.findall(_text(parameters)))


def _ids(tags: Iterable[str], prefix: str) -> set[UUID]:
    found: set[UUID] = set()
    for tag in tags:
        if tag.startswith(prefix):
            try:
                found.add(UUID(tag.removeprefix(prefix)))
            except ValueError:  # tags may be set by users
                continue
    return found


def _text(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, default=str)
