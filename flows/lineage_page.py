"""A lineage for people: what Prefect's pages show of it."""

from flows.lineage_schemas import Lineage


def page(found: Lineage) -> str:
    """
    Write a lineage as Markdown.

    Args:
        found: the document.
    """
    names = ", ".join(_cell(file.name) for file in found.outputs) or "an avatar"
    parts = [
        f"What went into {names}, and what made it; hashes are whole in the JSON below.",
        _table(
            ("in", "as given", "bytes", "SHA-256"),
            [
                (", ".join(file.fields) or file.name, file.given, f"{file.size:,}", file.sha256[:16])
                for file in found.inputs
            ],
        ),
        _table(
            ("out", "where", "bytes", "SHA-256"),
            [(file.name, file.uri, f"{file.size:,}", file.sha256[:16]) for file in found.outputs],
        ),
        _table(("model", "digest"), [(model.name, (model.digest or "")[:16]) for model in found.models]),
        _table(
            ("built on", "how", "file"),
            [(str(parent.job), parent.how, parent.file or "") for parent in found.parents],
        ),
        _table(("part", "type", "job"), [(part.name, part.type, str(part.job)) for part in found.parts]),
        f"{found.program.name} {found.program.version}, core {found.program.core}",
    ]
    return "\n\n".join(part for part in parts if part)


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return nothing for no rows."""
    if not rows:
        return ""
    lines = [heading, tuple("---" for _ in heading), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Show a text as it is: names are other people's and may look like Markdown."""
    plain = text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{plain}`" if plain else ""
