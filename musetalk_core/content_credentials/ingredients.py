"""Input files of a claim, added to a C2PA manifest with their own manifests and the validity of those."""

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from musetalk_core.content_credentials.claims import IngredientFile, ingredient_definition

if TYPE_CHECKING:
    import c2pa

_OPAQUE: Final = "application/octet-stream"
"""Media type under which a file is added without its manifest."""
_UNREADABLE: Final = "Its manifest store cannot be read."


def add_ingredient(
    builder: "c2pa.Builder", context: "c2pa.Context", ingredient: IngredientFile, *, with_manifest: bool
) -> None:
    """
    Add an input file with its own manifest store, if it has one.

    A file whose manifest store cannot or must not be parsed is added without it, and the definition says so.

    Args:
        builder:       of the manifest to which the file is added.
        context:       settings of c2pa-rs.
        ingredient:    the file.
        with_manifest: whether to keep its manifest store; if not, the file is listed with its hash only.
    """
    import c2pa

    definition, media_type = ingredient_definition(ingredient), ingredient.media_type.partition(";")[0]
    if not with_manifest:
        _add_opaque(
            builder, definition, ingredient, "Its manifest store has too many manifests or bytes to be kept."
        )
        return
    if not ingredient.is_readable:
        _add_opaque(builder, definition, ingredient, _UNREADABLE)
        return
    try:
        if ingredient.sidecar is None:
            with ingredient.path.open("rb") as stream:
                builder.add_ingredient(definition, media_type, stream)
        else:
            _add_with_sidecar(builder, context, definition, ingredient, media_type)
    except (c2pa.C2paError, ValueError, KeyError) as error:
        has_type = not type(error).__name__.endswith("NotSupported")
        _add_opaque(builder, definition, ingredient, _UNREADABLE if has_type else "")


def _add_with_sidecar(
    builder: "c2pa.Builder",
    context: "c2pa.Context",
    definition: dict[str, Any],
    ingredient: IngredientFile,
    media_type: str,
) -> None:
    """Add a file whose manifest store is beside it, with the result of validating that store now."""
    import c2pa

    with (
        ingredient.path.open("rb") as stream,
        c2pa.Reader(media_type, stream, ingredient.sidecar, context=context) as reader,
    ):
        store = json.loads(reader.json())
    identifier = f"{ingredient.role}.c2pa"
    found = {
        "manifest_data": {"format": "application/c2pa", "identifier": identifier},
        "active_manifest": store["active_manifest"],
        "validation_results": store["validation_results"],
    }
    builder.add_resource(identifier, BytesIO(ingredient.sidecar or b""))
    with ingredient.path.open("rb") as stream:
        builder.add_ingredient(definition | found, media_type, stream)


def _add_opaque(
    builder: "c2pa.Builder", definition: dict[str, Any], ingredient: IngredientFile, description: str
) -> None:
    stated = {"description": description} if description else {}
    with ingredient.path.open("rb") as stream:
        builder.add_ingredient({**definition, **stated}, _OPAQUE, stream)
