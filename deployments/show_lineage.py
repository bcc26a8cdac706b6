"""Where a job's output came from, on a terminal."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from api.logs import said


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """
    Write a lineage and those before it for people.

    Args:
        found: as the API answers it.

    Yields:
        Lines.
    """
    yield from map(said, _lines(found["lineage"]))
    for one in found["ancestors"]:
        yield ""
        if one["lineage"] is None:
            yield f"{one['job']} {one['status']}: nothing is known of where it came from"
        else:
            yield from map(said, _lines(one["lineage"]))
    if not found["complete"]:
        yield ""
        yield "it goes further back: see --depth"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    program = found["program"]
    yield f"{found['job']} {found['type']} by {program['name']} {program['version']}, {found['finished']}"
    for file in found["outputs"]:
        yield f"  made   {file['sha256']}  {file['size']:>12,}  {file['uri']}"
    for file in found["inputs"]:
        yield f"  from   {file['sha256']}  {file['size']:>12,}  {', '.join(file['fields'])} {file['given']}"
    for model in found["models"]:
        yield f"  model  {model['digest'] or 'unknown':<64}  {model['name']}"
    for parent in found["parents"]:
        yield f"  {'after' if parent['how'] == 'input' else 'part of':<7}{parent['job']}"
    for part in found["parts"]:
        yield f"  did    {part['job']}  {part['type']} {part['name']}"
    if found["parts_left_out"]:
        yield f"  did    {found['parts_left_out']:,} more, named in the table"
    for name, value in found["settled"].items():
        yield f"  {name}: {json.dumps(value)}"
    if found["links"]["prefect"]:
        yield f"  {found['links']['prefect']}"
