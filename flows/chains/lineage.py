"""Provenance manifest of a pipeline or batch; it refers to the manifests of the child jobs."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.context import FlowRunContext
from pydantic import BaseModel, ValidationError

from flows.chains.patience import patiently
from flows.lineage_page import page
from flows.lineage_run import about_run, wholes
from flows.lineage_schemas import LINEAGE, InputFile, Lineage, OutputFile, PartJob, UsedModel
from flows.outcome import read_data
from flows.output_uris import public_uri
from flows.prefect_state.queries import read_any_of
from tasks.publish import LINEAGE_ENDING, Published, write_beside
from tasks.reports import note
from tasks.settings import get_settings
from tasks.tenancy import current_tenant

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.chains.steps import StepMade

MOST_PARTS: Final = 100
"""Maximum number of child jobs of a batch in its provenance manifest."""
_log = logging.getLogger(__name__)


def record_steps(client: "SyncPrefectClient", made: Mapping[str, "StepMade"], reused: Iterable[str]) -> None:
    """
    Write the provenance manifest of a pipeline: external inputs of its steps, and outputs of the last step.

    Args:
        client:  client of the Prefect server.
        results: result by step, in the order of the request; the last one stands for the pipeline.
        reused:  steps whose earlier results were reused.
    """
    _write(lambda: _of_steps(client, made, reused))


def record_table(stored: Published, parts: Sequence[PartJob], left_out: int) -> None:
    """
    Write the provenance manifest of a batch, as an artifact and beside its result table.

    Args:
        stored:   result table.
        children: child jobs of the first rows.
        left_out: number of child jobs that are not among them.
    """

    def write() -> Lineage:
        found = _of_table(stored, parts, left_out)
        if get_settings().store.lineage_files:
            write_beside(stored, LINEAGE_ENDING, found.model_dump_json(indent=1))
        return found

    _write(write)


def _write(write: Callable[[], Lineage]) -> None:
    """Write a manifest as an artifact; log an error instead of failing the job, whose result is stored."""
    try:
        found = write()
        note(LINEAGE, found.model_dump(mode="json"), page(found))
    except Exception as error:
        _log.warning("the provenance manifest was not written: %s", error)


def _of_steps(client: "SyncPrefectClient", made: Mapping[str, "StepMade"], reused: Iterable[str]) -> Lineage:
    known = _read(client, [step.job for step in made.values()])
    told = {name: known[step.job] for name, step in made.items() if step.job in known}
    last = told.get(list(made)[-1])
    return Lineage(
        **about_run(_asked(), current_tenant()),
        inputs=tuple(chain.from_iterable(_from_outside(name, one) for name, one in told.items())),
        outputs=last.outputs if last else (),
        parents=tuple(wholes()),
        parts=tuple(PartJob(job=step.job, name=name, type=step.type) for name, step in made.items()),
        settled={},
        models=tuple(_models(told.values())),
        rendering=None,
        cached=tuple(reused),
        timings_s={name: step.ran_s for name, step in made.items()},
    )


def _read(client: "SyncPrefectClient", jobs: Sequence[UUID]) -> dict[UUID, Lineage]:
    def read(chunk: list[UUID], limit: int, offset: int) -> list[Artifact]:
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=[LINEAGE])
        )
        return patiently(lambda: client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset))

    found: dict[UUID, Lineage] = {}
    for artifact in read_any_of(jobs, read):
        try:
            one = Lineage.model_validate(read_data(artifact))
        except ValidationError:  # written by another version
            continue
        found[one.job] = one
    return found


def _from_outside(step: str, one: Lineage) -> Iterator[InputFile]:
    for file in one.inputs:
        if not file.given.startswith("job://"):
            yield file.model_copy(update={"fields": tuple(f"{step}.{field}" for field in file.fields)})


def _models(told: Iterable[Lineage]) -> list[UsedModel]:
    """Return all models used; a model that was replaced between two steps is listed once per content."""
    found = {(model.name, model.digest or ""): model for one in told for model in one.models}
    return [found[key] for key in sorted(found)]


def _of_table(stored: Published, parts: Sequence[PartJob], left_out: int) -> Lineage:
    run, ref = about_run(_asked({"rows"}), current_tenant()), stored.ref
    uri = public_uri(ref.uri, run["job"], stored.name)
    table = OutputFile(name=stored.name, uri=uri, version=ref.version, sha256=stored.sha256, size=ref.size)
    return Lineage(
        **run,
        inputs=(),
        outputs=(table,),
        parents=tuple(wholes()),
        parts=tuple(parts),
        parts_left_out=left_out,
        settled={},
        models=(),
        rendering=None,
        cached=(),
        timings_s={},
    )


def _asked(without: set[str] | None = None) -> dict[str, Any]:
    context = FlowRunContext.get()
    job: Any = context.parameters.get("job") if context and context.parameters else None
    return job.model_dump(mode="json", exclude=without) if isinstance(job, BaseModel) else {}
