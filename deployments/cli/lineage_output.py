"""Format the provenance (lineage) of a job's output for the terminal."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from api.logging import escaped


def lineage_lines(response: Mapping[str, Any]) -> Iterator[str]:
    """
    Format the lineage of a job and of its ancestors.

    Args:
        response: the lineage response of the API.

    Yields:
        Lines of text; the details of a job are indented.
    """
    yield from map(escaped, _format_lineage(response["lineage"]))
    for ancestor in response["ancestors"]:
        yield ""
        if ancestor["lineage"] is None:
            yield f"{ancestor['job']} {ancestor['status']}: no lineage is recorded"
        else:
            yield from map(escaped, _format_lineage(ancestor["lineage"]))
    if not response["complete"]:
        yield ""
        yield "more ancestors exist: increase --depth"


def _format_lineage(lineage: Mapping[str, Any]) -> Iterator[str]:
    program = lineage["program"]
    producer = f"{program['name']} {program['version']}"
    yield f"{lineage['job']} {lineage['type']} by {producer}, {lineage['finished']}"
    for file in lineage["outputs"]:
        yield f"  output {file['sha256']}  {file['size']:>12,}  {file['uri']}"
    for file in lineage["inputs"]:
        yield f"  input  {file['sha256']}  {file['size']:>12,}  {', '.join(file['fields'])} {file['given']}"
    for model in lineage["models"]:
        yield f"  model  {model['digest'] or 'unknown':<64}  {model['name']}"
    for parent in lineage["parents"]:
        yield f"  {'source' if parent['how'] == 'input' else 'parent':<7}{parent['job']}"
    for part in lineage["parts"]:
        yield f"  child  {part['job']}  {part['type']} {part['name']}"
    if lineage["parts_left_out"]:
        yield f"  child  {lineage['parts_left_out']:,} more, listed in the result table"
    for name, value in lineage["settled"].items():
        yield f"  {name}: {json.dumps(value)}"
    if lineage["links"]["prefect"]:
        yield f"  {lineage['links']['prefect']}"
