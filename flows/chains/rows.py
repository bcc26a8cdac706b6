"""Batch runner: run each row as a child job, a limited number at a time, and write the result table."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from prefect.artifacts import create_table_artifact

from flows.batch_schemas import BatchResult, RowFault, RowView
from flows.chains.books import Books
from flows.chains.crew import Crew
from flows.chains.lineage import MOST_PARTS, record_table
from flows.chains.parts import Ended, Part, Parts, Work
from flows.chains.place import Place
from flows.job import Output
from flows.lineage_schemas import PartJob
from flows.manifest import Row
from flows.outcome import media_of
from flows.output_uris import public_uri
from tasks.errors import ManifestInvalid
from tasks.file_names import fit_name
from tasks.lines import BATCHES, has_lines, read_lines, write_lines
from tasks.output_locations import check_output_location
from tasks.publish import store_table

_PROBLEMS: Final = 100
"""Maximum number of unsuccessful rows in the result."""
_SHOWN: Final = 200
"""Maximum number of rows in the table artifact."""
_TOGETHER: Final = 50
"""Rows whose outcomes are read per request."""
_ENDING: Final = ".jsonl"


@dataclass(frozen=True, slots=True)
class Order:
    """The specification of a batch run."""

    type: str
    look: Callable[[], "Found"]
    """Called once. Its rows are stored, and used again when the run is restarted or retried."""
    parallel: int
    """Maximum number of unfinished child jobs."""
    output: Output
    all_good: bool = False
    """Start no child job if any row is invalid."""
    scope: str | None = None
    """Work that was done under this name before is not repeated, and not reported."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a batch."""

    rows: Iterable[Row]
    until: datetime | None = None
    """Time up to which objects were listed; returned in the result."""


@dataclass(slots=True)
class _Tally:
    """Row counts by status, the first unsuccessful rows, and the first child jobs."""

    type: str
    """Job type of the rows."""
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[RowView] = field(default_factory=list[RowView])
    parts: list[PartJob] = field(default_factory=list[PartJob])
    jobs: int = 0

    def add(self, view: RowView) -> None:
        self.counts[view.status] += 1
        if view.job is not None:
            self.jobs += 1
            if len(self.parts) < MOST_PARTS:
                self.parts.append(PartJob(job=view.job, name=view.id, type=self.type))
        if view.status != "succeeded" and len(self.problems) < _PROBLEMS:
            self.problems.append(view)


def run_rows(order: Order, books: Books) -> BatchResult:
    """
    Run all valid rows and write the result table.

    Args:
        plan:   specification of the batch.
        report: report of this run.

    Raises:
        ManifestInvalid: there are no rows, no valid rows, or an invalid row although all must be valid.
    """
    parts = Parts(books.client, books.run, order.scope)
    name = _table_name(order.output, parts.root)
    check_output_location(name, order.output)
    key = f"{BATCHES}{parts.root}{_ENDING}"
    if not has_lines(key):
        found = order.look()
        until = found.until.isoformat() if found.until else None
        write_lines(key, chain([{"until": until}], _checked(order, found.rows)))
    total = sum(1 for _ in _rows(key))
    crew, known = Crew(parts, order.parallel), set[int]()
    with crew.at_work():
        _work(order, key, total, crew, Place(books.client, books.run), books, known)
    result = _told(order, key, name, known, crew, parts)
    books.finish(result, total, total)
    return result


def _rows(key: str) -> Iterator[dict[str, Any]]:
    return islice(read_lines(key), 1, None)


def _checked(order: Order, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Yield the rows as records to store; raise errors of the whole batch before any record is stored."""
    jobs, faulty = 0, 0
    first: str | None = None
    for row in rows:
        jobs += row.job is not None
        faulty += row.job is None
        if row.faults and first is None:
            first = f"Row {row.id}: {row.faults[0].detail} ({row.faults[0].pointer})."
        yield _kept(row)
    if faulty and (order.all_good or not jobs):
        raise ManifestInvalid(f"{faulty} of {jobs + faulty} rows are not valid {order.type} jobs. {first}")
    if not jobs and order.scope is None:
        raise ManifestInvalid("The batch has no rows.")


def _kept(row: Row) -> dict[str, Any]:
    return {
        "row": row.number,
        "id": row.id,
        "key": row.key,
        "job": row.job.model_dump(mode="json", exclude_unset=True) if row.job else None,
        "faults": [{"pointer": fault.pointer, "detail": fault.detail} for fault in row.faults],
    }


def _work(
    order: Order, key: str, total: int, crew: Crew, place: Place, books: Books, known: set[int]
) -> None:
    """Submit all rows and wait for their child jobs."""
    waiting = (line for line in _rows(key) if line["job"] is not None)
    row = next(waiting, None)
    begun = 0
    while True:
        while row is not None:
            part = crew.take(Work(row["id"], order.type, row["job"], row["key"]))
            if part is None:
                break
            if order.scope and not part.is_own and not part.is_told:
                known.add(row["row"])
            begun, row = begun + 1, next(waiting, None)
        books.show(max(0, begun - len(crew.unfinished)), total)
        if row is None and not crew.unfinished:
            return
        place.rest()
        crew.look()


def _told(order: Order, key: str, name: str, known: set[int], crew: Crew, parts: Parts) -> BatchResult:
    """Write the result table: one line per row, in row order."""
    tally = _Tally(order.type)
    shown: list[dict[str, Any]] = []
    lines = (line for line in _rows(key) if line["row"] not in known)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        with path.open("w", encoding="utf-8") as file:
            while some := list(islice(lines, _TOGETHER)):
                for view in _views(some, crew, parts):
                    tally.add(view)
                    file.write(view.model_dump_json(exclude_defaults=True) + "\n")
                    if len(shown) < _SHOWN:
                        shown.append(view.model_dump(mode="json", exclude={"faults", "uri"}))
        stored = store_table(path, name, order.output)
        record_table(stored, tally.parts, tally.jobs - len(tally.parts))
    if shown:
        create_table_artifact(key="rows", table=shown, description="Outcome of each row (the first 200)")
    counts = tally.counts
    return BatchResult(
        total=counts.total(),
        succeeded=counts["succeeded"],
        failed=counts["failed"] + counts["aborted"],
        canceled=counts["canceled"],
        invalid=counts["invalid"],
        known=len(known),
        problems=tally.problems,
        name=stored.name,
        files={stored.name: stored.ref},
        until=next(read_lines(key))["until"],
    )


def _views(lines: list[Any], crew: Crew, parts: Parts) -> Iterator[RowView]:
    doing = {line["row"]: crew.part(line["key"]) for line in lines if line["job"] is not None}
    ended = parts.ended([part.id for part in doing.values() if part is not None])
    for line in lines:
        if line["job"] is None:
            faults = [RowFault.model_validate(fault) for fault in line["faults"]]
            yield RowView(row=line["row"], id=line["id"], status="invalid", faults=faults)
        else:
            yield _view(line, doing[line["row"]], ended)


def _view(line: Mapping[str, Any], part: Part | None, ended: Mapping[UUID, Ended]) -> RowView:
    how = ended.get(part.id) if part else None
    if part is None or how is None:
        return RowView(row=line["row"], id=line["id"], status="canceled", message="Its job was deleted.")
    stored = media_of(how.result) or {}
    if not stored and how.result.get("name") in (files := how.result.get("files") or {}):
        stored = files[how.result["name"]]
    return RowView.model_validate(
        {
            "row": line["row"],
            "id": line["id"],
            "status": how.status,
            "job": part.id,
            "name": how.result.get("name"),
            "uri": _public(str(stored.get("uri", "")), part.id, how.result),
            "code": how.code,
            "message": how.message,
        }
    )


def _public(uri: str, job: UUID, result: Mapping[str, Any]) -> str | None:
    return public_uri(uri, job, result["name"]) if uri and "name" in result else None


def _table_name(output: Output, root: UUID) -> str:
    name = output.name or f"batch-{root.hex[:8]}"
    return fit_name(name.removesuffix(_ENDING), _ENDING)
