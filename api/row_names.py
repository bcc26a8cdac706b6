"""Dry runs of batches: names that several rows give their results, and names that are taken."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from urllib.parse import unquote, urlsplit

from flows.result_names import expected_object
from flows.schemas import Job
from tasks.assets import asset_name
from tasks.bucket_grants import locate
from tasks.errors import RenderError
from tasks.file_names import plain_name

_LOOKED_AT: Final = 50
"""Objects that are looked up, one request each."""
_TOLD: Final = 20
_ROWS_TOLD: Final = 5


@dataclass(slots=True)
class _Target:
    rows: list[str]
    overwrites: bool


@dataclass(slots=True)
class RowNames:
    """Objects that rows will write, as far as their names are known before they run."""

    targets: dict[str, _Target] = field(default_factory=dict[str, _Target])
    _assets: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def add(self, row: str, job: Job) -> None:
        """
        Add a row.

        Args:
            row: its id.
            job: what it is to do.
        """
        uri = expected_object(job, self._name_of)
        if uri is not None:
            overwrites = bool(getattr(job, "output").overwrite)  # noqa: B009  no field of every job
            self.targets.setdefault(uri, _Target([], overwrites)).rows.append(row)

    def warnings(self) -> list[str]:
        """Return a sentence for each of the first names that several rows share, or that is taken."""
        shared = [(uri, one) for uri, one in self.targets.items() if len(one.rows) > 1]
        told = [_of_shared(uri, one) for uri, one in shared[:_TOLD]]
        if len(shared) > _TOLD:
            told.append(f"equal_names: {len(shared) - _TOLD} more names are shared by several rows.")
        taken = [(uri, one) for uri, one in islice(self.targets.items(), _LOOKED_AT) if _is_taken(uri)]
        return told + [_of_taken(uri, one) for uri, one in taken[:_TOLD]]

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
            case _:  # what another job makes is named when it is made
                return None

    def _name_of_asset(self, asset: str) -> str | None:
        if asset not in self._assets and len(self._assets) < _LOOKED_AT:
            try:
                self._assets[asset] = asset_name(asset)
            except RenderError:
                self._assets[asset] = None
        return self._assets.get(asset)


def _of_shared(uri: str, target: _Target) -> str:
    suffixed = "all but one get a suffix of their job's id."
    end = "each replaces the one before." if target.overwrites else suffixed
    return f"equal_names: rows {_listed(target.rows)} give the same object {uri}; {end}"


def _of_taken(uri: str, target: _Target) -> str:
    suffixed = "the result gets a suffix of its job's id, unless it is equal."
    end = "it is replaced." if target.overwrites else suffixed
    return f"name_taken: {uri} exists (row {_listed(target.rows)}); {end}"


def _listed(rows: list[str]) -> str:
    more = f" and {len(rows) - _ROWS_TOLD} more" if len(rows) > _ROWS_TOLD else ""
    return ", ".join(rows[:_ROWS_TOLD]) + more


def _is_taken(uri: str) -> bool:
    """Look at an object; one that cannot be looked at is not told of."""
    try:
        place = locate(uri, "write")
        return place.objects.find(place.key) is not None
    except RenderError:
        return False
