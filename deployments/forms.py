"""The form in which people start a run on Prefect's pages: what matters first, with examples, groups last."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

_TITLES = {"job": "Job", "control": "How it is treated"}


def as_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Arrange a flow's parameters for people; what is valid stays the same.

    Required fields come first, then single ones as they are declared, then groups, the smallest first. Places
    are written down, since a database may keep the members of JSON in an order of its own.

    Args:
        schema: as Prefect makes it.
    """
    form = deepcopy(dict(schema))
    for name, field in form["properties"].items():
        field["title"] = _TITLES.get(name, name)
    groups: dict[str, Any] = form.get("definitions", {})
    for group in groups.values():
        fields: dict[str, Any] = group.get("properties", {})
        required = set(group.get("required", ()))
        for place, name in enumerate(sorted(fields, key=lambda name: _rank(name, fields, required, groups))):
            fields[name] = _described(fields[name]) | {"position": place}
        group["properties"] = dict(sorted(fields.items(), key=lambda item: item[1]["position"]))
    return form


def _rank(
    name: str, fields: Mapping[str, Any], required: set[str], groups: Mapping[str, Any]
) -> tuple[bool, int, int]:
    size = len(groups.get(_group(fields[name]), {}).get("properties", ()))
    return name not in required, size, list(fields).index(name)


def _group(field: Mapping[str, Any]) -> str:
    """Return the name of the group that a field is; empty for a single value."""
    inside = [field, *field.get("allOf", ())]
    return next((one["$ref"].rpartition("/")[2] for one in inside if "$ref" in one), "")


def _described(field: dict[str, Any]) -> dict[str, Any]:
    """Say the first example in words: forms show descriptions, not examples."""
    examples, said = field.get("examples"), field.get("description")
    if not examples or not said:
        return field
    example = examples[0] if isinstance(examples[0], str) else json.dumps(examples[0])
    return field | {"description": f"{said} Example: `{example}`"}
