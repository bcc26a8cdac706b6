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

from flows.batches.manifest import Row
from flows.orchestration.child_events import ChildEvents
from flows.orchestration.child_jobs import ChildJob, ChildJobs, ChildOutcome, ChildSpec
from flows.orchestration.child_warnings import MAX_ROW_WARNINGS, RowWarnings, codes_of
from flows.orchestration.dispatcher import Dispatcher
from flows.orchestration.lineage import MAX_LISTED_CHILDREN, write_batch_manifest
from flows.orchestration.pool_slot import PoolSlot
from flows.orchestration.run_report import RunReport
from flows.prefect_state.status import output_file_of
from flows.schemas.base import Output
from flows.schemas.batch import BatchResult, RowFault, RowView
from flows.schemas.lineage import PartJob
from flows.storage.output_uris import public_uri
from tasks.catalog.output_locations import check_output_location
from tasks.catalog.outputs import publish_table
from tasks.errors import ManifestInvalid
from tasks.file_names import fit_name
from tasks.run.retry import retry_transient
from tasks.storage.json_lines import BATCHES_PREFIX, has_lines, local_lines, read_lines, write_lines

_MAX_PROBLEMS: Final = 100
"""Maximum number of unsuccessful rows in the result."""
_MAX_SHOWN_ROWS: Final = 200
"""Maximum number of rows in the table artifact."""
_ROWS_PER_READ: Final = 50
"""Rows whose outcomes are read per request."""
_EXTENSION: Final = ".jsonl"


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The specification of a batch run."""

    type: str
    discover_rows: Callable[[], "DiscoveredRows"]
    """Called once. Its rows are stored, and used again when the run is restarted or retried."""
    parallel: int
    """Maximum number of unfinished child jobs."""
    output: Output
    requires_valid_rows: bool = False
    """Start no child job if any row is invalid."""
    scope: str | None = None
    """Work that was done under this name before is not repeated, and not reported."""


@dataclass(frozen=True, slots=True)
class DiscoveredRows:
    """The rows of a batch."""

    rows: Iterable[Row]
    until: datetime | None = None
    """Time up to which objects were listed; returned in the result."""


@dataclass(slots=True)
class _ResultCounts:
    """Row counts by status and by warning, the first unsuccessful rows, and the first child jobs."""

    type: str
    """Job type of the rows."""
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[RowView] = field(default_factory=list[RowView])
    children: list[PartJob] = field(default_factory=list[PartJob])
    warnings: RowWarnings = field(default_factory=RowWarnings)
    jobs: int = 0

    def add(self, view: RowView) -> None:
        self.counts[view.status] += 1
        self.warnings.add(view)
        if view.job is not None:
            self.jobs += 1
            if len(self.children) < MAX_LISTED_CHILDREN:
                self.children.append(PartJob(job=view.job, name=view.id, type=self.type))
        if view.status != "succeeded" and len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(view)


def run_batch(plan: BatchPlan, report: RunReport) -> BatchResult:
    """
    Run all valid rows and write the result table.

    Args:
        plan:   specification of the batch.
        report: report of this run.

    Raises:
        ManifestInvalid: there are no rows, no valid rows, or an invalid row although all must be valid.
    """
    children = ChildJobs(report.client, report.run, plan.scope, own_traces=True)
    name = _table_name(plan.output, children.root)
    check_output_location(name, plan.output)
    key = f"{BATCHES_PREFIX}{children.root}{_EXTENSION}"
    if not has_lines(key):
        discovered = plan.discover_rows()
        until = discovered.until.isoformat() if discovered.until else None
        write_lines(key, chain([{"until": until}], _validated_records(plan, discovered.rows)))
    with local_lines(key) as lines:
        total = sum(1 for _ in _read_records(lines))
        dispatcher, known_rows = Dispatcher(children, plan.parallel), set[int]()
        with dispatcher.cancel_on_exit(), ChildEvents(children.parents) as events:
            slot = PoolSlot(report.client, report.run, events)
            _run_children(plan, lines, total, dispatcher, slot, report, known_rows)
        result = _write_result_table(plan, lines, name, known_rows, dispatcher, children)
    report.finish(result, total, total)
    return result


def _read_records(lines: Path) -> Iterator[dict[str, Any]]:
    return islice(read_lines(lines), 1, None)


def _validated_records(plan: BatchPlan, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Yield the rows as records to store; raise errors of the whole batch before any record is stored."""
    valid_count, invalid_count = 0, 0
    first_error: str | None = None
    for row in rows:
        valid_count += row.job is not None
        invalid_count += row.job is None
        if row.faults and first_error is None:
            first_error = f"Row {row.id}: {row.faults[0].detail} ({row.faults[0].pointer})."
        yield _to_record(row)
    if invalid_count and (plan.requires_valid_rows or not valid_count):
        raise ManifestInvalid(
            f"{invalid_count} of {valid_count + invalid_count} rows are not valid {plan.type} jobs."
            f" {first_error}"
        )
    if not valid_count and plan.scope is None:
        raise ManifestInvalid("The batch has no rows.")


def _to_record(row: Row) -> dict[str, Any]:
    return {
        "row": row.number,
        "id": row.id,
        "key": row.key,
        "job": row.job.model_dump(mode="json", exclude_unset=True) if row.job else None,
        "faults": [{"pointer": fault.pointer, "detail": fault.detail} for fault in row.faults],
    }


def _run_children(
    plan: BatchPlan,
    lines: Path,
    total: int,
    dispatcher: Dispatcher,
    slot: PoolSlot,
    report: RunReport,
    known_rows: set[int],
) -> None:
    """Submit all rows and wait for their child jobs."""
    pending = (line for line in _read_records(lines) if line["job"] is not None)
    row = next(pending, None)
    submitted = 0
    while True:
        while row is not None:
            child = dispatcher.submit(ChildSpec(row["id"], plan.type, row["job"], row["key"]))
            if child is None:
                break
            if plan.scope and not child.is_created_by_this_run and not child.should_retry:
                known_rows.add(row["row"])
            submitted, row = submitted + 1, next(pending, None)
        report.update_progress(max(0, submitted - len(dispatcher.unfinished)), total)
        if row is None and not dispatcher.unfinished:
            return
        dispatcher.poll(slot.wait_or_yield())


def _write_result_table(
    plan: BatchPlan, lines: Path, name: str, known_rows: set[int], dispatcher: Dispatcher, children: ChildJobs
) -> BatchResult:
    """Write the result table: one line per row, in row order."""
    result_counts = _ResultCounts(plan.type)
    shown_rows: list[dict[str, Any]] = []
    reported = (line for line in _read_records(lines) if line["row"] not in known_rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        with path.open("w", encoding="utf-8") as file:
            while chunk := list(islice(reported, _ROWS_PER_READ)):
                for view in _row_views(chunk, dispatcher, children):
                    result_counts.add(view)
                    file.write(view.model_dump_json(exclude_defaults=True) + "\n")
                    if len(shown_rows) < _MAX_SHOWN_ROWS:
                        shown = view.model_dump(mode="json", exclude={"faults", "uri"})
                        shown_rows.append(shown | {"warnings": codes_of(view.warnings)})
        stored = retry_transient(lambda: publish_table(path, name, plan.output))
        write_batch_manifest(stored, result_counts.children, result_counts.jobs - len(result_counts.children))
    if shown_rows:
        create_table_artifact(key="rows", table=shown_rows, description="Outcome of each row (the first 200)")
    counts = result_counts.counts
    return BatchResult(
        total=counts.total(),
        succeeded=counts["succeeded"],
        failed=counts["failed"] + counts["aborted"],
        canceled=counts["canceled"],
        invalid=counts["invalid"],
        known=len(known_rows),
        problems=result_counts.problems,
        name=stored.name,
        files={stored.name: stored.ref},
        until=next(read_lines(lines))["until"],
        warnings=result_counts.warnings.texts(),
    )


def _row_views(lines: list[Any], dispatcher: Dispatcher, children: ChildJobs) -> Iterator[RowView]:
    child_by_row = {
        line["row"]: dispatcher.child_for(line["key"]) for line in lines if line["job"] is not None
    }
    outcomes = children.outcomes([part.id for part in child_by_row.values() if part is not None])
    for line in lines:
        if line["job"] is None:
            faults = [RowFault.model_validate(fault) for fault in line["faults"]]
            yield RowView(row=line["row"], id=line["id"], status="invalid", faults=faults)
        else:
            yield _row_view(line, child_by_row[line["row"]], outcomes)


def _row_view(
    line: Mapping[str, Any], child: ChildJob | None, outcomes: Mapping[UUID, ChildOutcome]
) -> RowView:
    outcome = outcomes.get(child.id) if child else None
    if child is None or outcome is None:
        return RowView(row=line["row"], id=line["id"], status="canceled", message="Its job was deleted.")
    stored = output_file_of(outcome.result) or {}
    if not stored and outcome.result.get("name") in (files := outcome.result.get("files") or {}):
        stored = files[outcome.result["name"]]
    return RowView.model_validate(
        {
            "row": line["row"],
            "id": line["id"],
            "status": outcome.status,
            "job": child.id,
            "name": outcome.result.get("name"),
            "uri": _public_uri_of(str(stored.get("uri", "")), child.id, outcome.result),
            "code": outcome.code,
            "message": outcome.message,
            "warnings": outcome.result.get("warnings", [])[:MAX_ROW_WARNINGS],
        }
    )


def _public_uri_of(uri: str, job: UUID, result: Mapping[str, Any]) -> str | None:
    return public_uri(uri, job, result["name"]) if uri and "name" in result else None


def _table_name(output: Output, root_id: UUID) -> str:
    name = output.name or f"batch-{root_id.hex[:8]}"
    return fit_name(name.removesuffix(_EXTENSION), _EXTENSION)
