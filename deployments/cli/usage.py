"""The `musetalk usage` command: usage of jobs, and its costs."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import typer

from deployments.cli.errors import user_errors
from deployments.cli.options import JsonOption, KeyOption, ServerOption, client_for, print_json
from deployments.cli.suggestions import require_choice


def usage(
    first: Annotated[
        str | None, typer.Option("--from", help="First day, as 2026-11-01, in UTC; default: 29 days before.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Last day, included; default: today.")] = None,
    group_by: Annotated[
        str, typer.Option(help="day, tenant, batch, type, engine, or several with commas.")
    ] = "tenant",
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only this batch or pipeline, by its id.")] = None,
    as_json: JsonOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
) -> None:
    """Show CPU time, GPU time, stored bytes and costs of jobs, in groups."""
    from api.schemas.usage_views import Group

    with user_errors():
        names = [name.strip() for name in group_by.split(",")]
        for name in names:
            require_choice("--group-by", name, get_args(Group))
        filters = {"from": first, "to": to, "group_by": names, "tenant": tenant, "batch": batch}
        given = {name: value for name, value in filters.items() if value is not None}
        found = client_for(server, key).usage(**given)
        if as_json:
            print_json(found)
            return
        _print_table(names, found)


def _print_table(names: list[str], found: Mapping[str, Any]) -> None:
    from rich.table import Table

    from deployments.console import output_console

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    has_costs = found["total"]["cost"] is not None
    titles = ["attempts", "GPU s", "CPU s", "stored MB"]
    for title in [*titles, f"cost {found['currency'] or ''}".rstrip()] if has_costs else titles:
        table.add_column(title, justify="right")
    for row in found["rows"]:
        table.add_row(*[str(row["group"][name] or "-") for name in names], *_cells(row, has_costs))
    table.add_row("total", *[""] * (len(names) - 1), *_cells(found["total"], has_costs))
    output_console().print(f"{found['from']} to {found['to']}")
    output_console().print(table)


def _cells(figures: Mapping[str, Any], has_costs: bool) -> list[str]:
    cells = [
        str(sum(figures["attempts"].values())),
        f"{figures['device_s']:.1f}",
        f"{figures['cpu_s']:.1f}",
        f"{figures['stored_bytes'] / 1e6:.1f}",
    ]
    return [*cells, f"{figures['cost']:.4f}"] if has_costs else cells
