"""Warnings of a batch's dry run about output names that several rows share or that already exist."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from urllib.parse import unquote, urlsplit

from flows.schemas.base import JobParameters
from flows.storage.output_names import expected_object
from tasks.catalog.assets import asset_name
from tasks.errors import RenderError
from tasks.file_names import plain_name
from tasks.storage.bucket_grants import locate

_MAX_LOOKUPS: Final = 50
"""Maximum number of objects to look up; each takes one request."""
_MAX_WARNINGS: Final = 20
_MAX_ROWS_LISTED: Final = 5


@dataclass(slots=True)
class _Target:
    rows: list[str]
    overwrites: bool


@dataclass(slots=True)
class OutputNameWarnings:
    """A collector of the objects that the rows of a batch will write, if their names are known in advance."""

    targets: dict[str, _Target] = field(default_factory=dict[str, _Target])
    _assets: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def add(self, row: str, job: JobParameters) -> None:
        """
        Add a row.

        Args:
            row: id of the row.
            job: parameters of its job.
        """
        uri = expected_object(job, self._name_of)
        if uri is not None:
            overwrites = bool(getattr(job, "output").overwrite)  # noqa: B009  no field of every job
            self.targets.setdefault(uri, _Target([], overwrites)).rows.append(row)

    def warnings(self) -> list[str]:
        """Return warnings for output names that several rows share or that already exist, 20 of each."""
        shared = [(uri, one) for uri, one in self.targets.items() if len(one.rows) > 1]
        messages = [_shared_name_warning(uri, one) for uri, one in shared[:_MAX_WARNINGS]]
        if len(shared) > _MAX_WARNINGS:
            messages.append(
                f"equal_names: {len(shared) - _MAX_WARNINGS} more names are shared by several rows."
            )
        existing = [(uri, one) for uri, one in islice(self.targets.items(), _MAX_LOOKUPS) if _exists(uri)]
        return messages + [_taken_name_warning(uri, one) for uri, one in existing[:_MAX_WARNINGS]]

    def _name_of(self, uri: str) -> str | None:
        scheme, _, rest = uri.partition("://")
        match scheme.lower():
            case "s3":
                return plain_name(rest)
            case "http" | "https":
                return plain_name(unquote(urlsplit(uri).path))
            case "file":
                return plain_name(unquote(rest))
            case "asset":
                return self._name_of_asset(rest)
            case _:  # job://: the name of another job's output is known only when that job ends
                return None

    def _name_of_asset(self, asset: str) -> str | None:
        if asset not in self._assets and len(self._assets) < _MAX_LOOKUPS:
            try:
                self._assets[asset] = asset_name(asset)
            except RenderError:
                self._assets[asset] = None
        return self._assets.get(asset)


def _shared_name_warning(uri: str, target: _Target) -> str:
    suffixed = "all but one get a suffix of their job's id."
    end = "each replaces the one before." if target.overwrites else suffixed
    return f"equal_names: rows {_format_rows(target.rows)} give the same object {uri}; {end}"


def _taken_name_warning(uri: str, target: _Target) -> str:
    suffixed = "the result gets a suffix of its job's id, unless it is equal."
    end = "it is replaced." if target.overwrites else suffixed
    return f"name_taken: {uri} exists (row {_format_rows(target.rows)}); {end}"


def _format_rows(rows: list[str]) -> str:
    more = f" and {len(rows) - _MAX_ROWS_LISTED} more" if len(rows) > _MAX_ROWS_LISTED else ""
    return ", ".join(rows[:_MAX_ROWS_LISTED]) + more


def _exists(uri: str) -> bool:
    """Return whether an object exists; an object that cannot be read counts as absent."""
    try:
        location = locate(uri, "write")
        return location.objects.find(location.key) is not None
    except RenderError:
        return False
