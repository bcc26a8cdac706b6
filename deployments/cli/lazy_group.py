"""Command groups: full sentences in their help, and modules that are imported when a command runs."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup


class LazyCommand(NamedTuple):
    """A command by name, and all that the help of its group says about it."""

    name: str
    target: str
    """`module:attribute` in this package: its function, or its `typer.Typer`."""
    summary: str
    """First paragraph of its docstring, or the help of its group; a test compares them."""
    command_class: str | None = None
    """Class of the command in the same module; None: typer's."""


class CommandGroup(TyperGroup):
    """A command group whose help has the first paragraph of each command; typer shortens it to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries()))

    def summaries(self) -> Iterator[tuple[str, str]]:
        """Yield name and first paragraph of each command."""
        for name, command in self.commands.items():
            yield name, " ".join((command.help or "").partition("\n\n")[0].split())


class LazyGroup(CommandGroup):
    """A command group of `entries`, which subclasses set."""

    entries: ClassVar[tuple[LazyCommand, ...]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # all that typer does with a group's commands is to read them
        self.commands = _Commands(self.entries)  # pyright: ignore[reportAttributeAccessIssue]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if there is none of that name."""
        if cmd_name not in self.commands:  # not `get`, which would hide a KeyError of an import
            return None
        return self.commands[cmd_name]

    def summaries(self) -> Iterator[tuple[str, str]]:
        """Yield name and summary of each entry."""
        return ((entry.name, entry.summary) for entry in self.entries)


class _Commands(Mapping[str, Any]):
    """Commands by name, imported when they are read."""

    def __init__(self, entries: tuple[LazyCommand, ...]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    def __getitem__(self, name: str) -> Any:
        return _load_command(self._entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@cache
def _load_command(entry: LazyCommand) -> Any:
    module_name, _, attribute = entry.target.partition(":")
    module = import_module(f"deployments.cli.{module_name}")
    loaded = getattr(module, attribute)
    parent = typer.Typer(rich_markup_mode=None)  # commands take over the markup mode of their parent
    if isinstance(loaded, typer.Typer):
        parent.add_typer(loaded, name=entry.name)
    else:
        command_class = getattr(module, entry.command_class) if entry.command_class else None
        parent.command(entry.name, cls=command_class)(loaded)
    return typer.main.get_group(parent).commands[entry.name]
