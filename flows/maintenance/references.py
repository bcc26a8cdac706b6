"""References of a run: its parents, the job that it reports, and other jobs and assets used as inputs."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from flows.prefect_state.labels import PARENT_TAG
from flows.schemas.webhook import JOB_TAG_PREFIX

_JOB_REFERENCE: Final = re.compile(r"job://([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_ASSET_REFERENCE: Final = re.compile(r"asset://([A-Za-z0-9_-]{1,64})")


def parents_of(tags: Iterable[str]) -> set[UUID]:
    """
    Return the runs that a run is a child job of, from its tags.

    Args:
        tags: tags of the run, which may be set by users.
    """
    return _ids_from_tags(tags, PARENT_TAG)


def owners_of(tags: Iterable[str]) -> set[UUID]:
    """
    Return the runs that a run is kept with: its parents, and the job that it reports.

    Args:
        tags: tags of the run, which may be set by users.
    """
    tag_list = list(tags)
    return _ids_from_tags(tag_list, PARENT_TAG) | _ids_from_tags(tag_list, JOB_TAG_PREFIX)


def referenced_jobs(parameters: Mapping[str, Any]) -> set[UUID]:
    """Return the jobs whose outputs a run uses as inputs."""
    return {UUID(found) for found in _JOB_REFERENCE.findall(_to_json(parameters))}


def referenced_assets(parameters: Mapping[str, Any]) -> set[str]:
    """Return the ids of the assets that a run uses as inputs."""
    return set(_ASSET_REFERENCE.findall(_to_json(parameters)))


def _ids_from_tags(tags: Iterable[str], prefix: str) -> set[UUID]:
    ids: set[UUID] = set()
    for tag in tags:
        if tag.startswith(prefix):
            try:
                ids.add(UUID(tag.removeprefix(prefix)))
            except ValueError:  # tags may be set by users
                continue
    return ids


def _to_json(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, default=str)
