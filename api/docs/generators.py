"""Completion of the OpenAPI schemas for client generators: typed results, optional fields of requests."""

import json
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from flows.registry import JOB_TYPES

_REF_PREFIX: Final = "#/components/schemas/"
_REF_TEMPLATE: Final = _REF_PREFIX + "{model}"
_JOB_VIEW: Final = "JobView"


def type_results(schemas: dict[str, Any]) -> None:
    """
    Replace the schema of a job by a union of one schema per job type, discriminated by `type`.

    Each has the result of its type. No field of a result is required, because results of earlier versions are
    returned as they were stored.

    Args:
        schemas: the component schemas of the document; changed in place.
    """
    models = {job_type.result for job_type in JOB_TYPES.values()}
    by_name = sorted(models, key=lambda model: model.__name__)
    names, document = models_json_schema([(one, "validation") for one in by_name], ref_template=_REF_TEMPLATE)
    for name, schema in document["$defs"].items():
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"Two different schemas are named {name}.")
    view, mapping = schemas[_JOB_VIEW], dict[str, str]()
    for job_type in JOB_TYPES.values():
        result = names[job_type.result, "validation"]
        schemas[result["$ref"].removeprefix(_REF_PREFIX)].pop("required", None)
        typed = deepcopy(view)
        typed["title"] = "".join(part.title() for part in job_type.name.split("_")) + _JOB_VIEW
        typed["description"] = f"A job of type {job_type.name} and its current state."
        typed["properties"]["type"] = {"type": "string", "const": job_type.name, "title": "Type"}
        typed["properties"]["result"] = {"anyOf": [result, {"type": "null"}], "title": "Result"}
        schemas[typed["title"]] = typed
        mapping[job_type.name] = _REF_TEMPLATE.format(model=typed["title"])
    schemas[_JOB_VIEW] = {
        "title": _JOB_VIEW,
        "description": view.get("description", ""),
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }


def make_defaults_optional(document: dict[str, Any]) -> None:
    """
    Move the defaults of request fields to their descriptions and examples.

    Some generators make a field with a default mandatory; the server fills in defaults in any case.

    Args:
        document: the OpenAPI document; changed in place.
    """
    schemas = document["components"]["schemas"]
    bodies = (
        operation["requestBody"]
        for path in document["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "requestBody" in operation
    )
    for name in _reachable(schemas, bodies):
        for field in schemas[name].get("properties", {}).values():
            if "default" not in field or "const" in field:
                continue
            default = field.pop("default")
            if default is not None and not isinstance(default, dict):
                text = f"Default: {default if isinstance(default, str) and default else json.dumps(default)}."
                field["description"] = f"{field.get('description', '')} {text}".strip()
                field.setdefault("examples", [default])


def enumerate_constants(schemas: dict[str, Any]) -> None:
    """
    Write constants that are no texts as lists of one value: some generators make invalid code of them.

    Args:
        schemas: the component schemas of the document; changed in place.
    """
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            if not isinstance(field.get("const", ""), str):
                field["enum"] = [field.pop("const")]


def _reachable(schemas: dict[str, Any], roots: Iterable[Any]) -> set[str]:
    """Return the names of all component schemas that some parts of the document refer to."""
    found, open_parts = set[str](), list(roots)
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, list):
            open_parts += part  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(part, dict):
            ref: Any = part.get("$ref")  # pyright: ignore[reportUnknownMemberType]
            if isinstance(ref, str) and ref.startswith(_REF_PREFIX) and ref not in found:
                found.add(ref)
                open_parts.append(schemas[ref.removeprefix(_REF_PREFIX)])
            open_parts += part.values()  # pyright: ignore[reportUnknownArgumentType]
    return {ref.removeprefix(_REF_PREFIX) for ref in found}
