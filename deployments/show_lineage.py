"""Format the provenance (lineage) of a job's output for the terminal."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from api.logs import said


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """
    Format the lineage of a job and of its ancestors.

    Args:
        response: the lineage response of the API.

    Yields:
        Lines of text; the details of a job are indented.
    """
    yield from map(said, _lines(found["lineage"]))
    for one in found["ancestors"]:
        yield ""
        if one["lineage"] is None:
            yield f"{one['job']} {one['status']}: no lineage is recorded"
        else:
            yield from map(said, _lines(one["lineage"]))
    if not found["complete"]:
        yield ""
        yield "more ancestors exist: increase --depth"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    program = found["program"]
    yield f"{found['job']} {found['type']} by {program['name']} {program['version']}, {found['finished']}"
    for file in found["outputs"]:
        yield f"  output {file['sha256']}  {file['size']:>12,}  {file['uri']}"
    for file in found["inputs"]:
        yield f"  input  {file['sha256']}  {file['size']:>12,}  {', '.join(file['fields'])} {file['given']}"
    for model in found["models"]:
        yield f"  model  {model['digest'] or 'unknown':<64}  {model['name']}"
    for parent in found["parents"]:
        yield f"  {'source' if parent['how'] == 'input' else 'parent':<7}{parent['job']}"
    for part in found["parts"]:
        yield f"  child  {part['job']}  {part['type']} {part['name']}"
    if found["parts_left_out"]:
        yield f"  child  {found['parts_left_out']:,} more, listed in the result table"
    for name, value in found["settled"].items():
        yield f"  {name}: {json.dumps(value)}"
    if found["links"]["prefect"]:
        yield f"  {found['links']['prefect']}"
