"""Markdown view of a provenance manifest, shown in Prefect's pages."""

from flows.schemas.lineage import Lineage


def to_markdown(manifest: Lineage) -> str:
    """
    Format a provenance manifest as Markdown.

    Args:
        manifest: provenance manifest.
    """
    names = ", ".join(_cell(file.name) for file in manifest.outputs) or "an avatar"
    sections = [
        f"Inputs, models and outputs of {names}. Hashes are shortened; the JSON below has them in full.",
        _table(
            ("input", "reference", "bytes", "SHA-256"),
            [
                (", ".join(file.fields) or file.name, file.given, f"{file.size:,}", file.sha256[:16])
                for file in manifest.inputs
            ],
        ),
        _table(
            ("output", "location", "bytes", "SHA-256"),
            [(file.name, file.uri, f"{file.size:,}", file.sha256[:16]) for file in manifest.outputs],
        ),
        _table(
            ("signed output", "manifest", "signer"),
            [(file.name, file.manifest, file.signer or "") for file in manifest.outputs if file.manifest],
        ),
        _table(("model", "digest"), [(model.name, (model.digest or "")[:16]) for model in manifest.models]),
        _table(
            ("parent job", "relation", "file"),
            [(str(parent.job), parent.how, parent.file or "") for parent in manifest.parents],
        ),
        _table(
            ("child job", "type", "id"), [(part.name, part.type, str(part.job)) for part in manifest.parts]
        ),
        f"{manifest.program.name} {manifest.program.version}, core {manifest.program.core}",
    ]
    return "\n\n".join(part for part in sections if part)


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table, or an empty string if there are no rows."""
    if not rows:
        return ""
    lines = [heading, tuple("---" for _ in heading), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Format text as inline code, because names from users may contain Markdown."""
    escaped = text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{escaped}`" if escaped else ""
