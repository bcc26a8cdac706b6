"""Warnings of child jobs in the result of their pipeline or batch. The code comes first, as in any other."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from flows.schemas.batch import RowView

MAX_ROW_WARNINGS: Final = 20
"""Maximum number of warnings of one row in the table of results."""


def step_warnings(step: str, warnings: Iterable[str]) -> list[str]:
    """Return the warnings of a step's job, each `code: step NAME: sentence`."""
    return [_with_place(text, f"step {step}") for text in warnings]


def _with_place(warning: str, place: str) -> str:
    code, _, sentence = warning.partition(": ")
    return f"{code}: {place}: {sentence}"


class RowWarnings:
    """Counts the rows of a batch by the codes of their warnings."""

    def __init__(self) -> None:
        """Start without warnings."""
        self._rows: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, row: RowView) -> None:
        """Count one row; a code that it has several times counts once."""
        codes = set[str]()
        for text in row.warnings:
            code, _, sentence = text.partition(": ")
            codes.add(code)
            self._first.setdefault(code, f"{row.id}: {sentence}")
        self._rows.update(codes)

    def texts(self) -> list[str]:
        """Return one warning per code: the number of its rows, the first of them, and its sentence."""
        return [f"{code}: {_count(self._rows[code])}{first}" for code, first in self._first.items()]


def _count(rows: int) -> str:
    return "row " if rows == 1 else f"{rows} rows, the first is "


def codes_of(warnings: Sequence[str]) -> str:
    """Return the codes of warnings, for a column of a table."""
    return ", ".join(dict.fromkeys(text.partition(":")[0] for text in warnings))
