"""Provenance manifest of a pipeline or batch; it refers to the manifests of the child jobs."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.context import FlowRunContext
from pydantic import BaseModel, ValidationError

from flows.lineage.markdown import to_markdown
from flows.lineage.run_facts import describe_run, parent_jobs
from flows.prefect_state.artifacts import read_latest_artifacts
from flows.prefect_state.status import read_data
from flows.schemas.lineage import LINEAGE_KEY, InputFile, Lineage, OutputFile, PartJob, UsedModel
from flows.storage.output_uris import public_uri
from tasks.catalog.outputs import LINEAGE_SUFFIX, PublishedFile, publish_note
from tasks.run.reports import write_artifact
from tasks.run.retry import retry_transient
from tasks.run.tenancy import current_tenant
from tasks.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.orchestration.step_result import StepResult

MAX_LISTED_CHILDREN: Final = 100
"""Maximum number of child jobs of a batch in its provenance manifest."""
_log = logging.getLogger(__name__)


def write_pipeline_manifest(
    client: "SyncPrefectClient", results: Mapping[str, "StepResult"], reused: Iterable[str]
) -> None:
    """
    Write the provenance manifest of a pipeline: external inputs of its steps, and outputs of the last step.

    Args:
        client:  client of the Prefect server.
        results: result by step, in the order of the request; the last one is the result of the pipeline.
        reused:  steps whose earlier results were reused.
    """
    _write_safely(lambda: _pipeline_manifest(client, results, reused))


def write_batch_manifest(stored: PublishedFile, children: Sequence[PartJob], left_out: int) -> None:
    """
    Write the provenance manifest of a batch, as an artifact and beside its result table.

    Args:
        stored:   result table.
        children: child jobs of the first rows.
        left_out: number of child jobs that are not among them.
    """

    def write() -> Lineage:
        manifest = _batch_manifest(stored, children, left_out)
        if get_settings().store.lineage_files:
            content = manifest.model_dump_json(indent=1)
            retry_transient(lambda: publish_note(stored, LINEAGE_SUFFIX, content))
        return manifest

    _write_safely(write)


def _write_safely(build: Callable[[], Lineage]) -> None:
    """Write a manifest as an artifact; log an error instead of failing the job, whose result is stored."""
    try:
        manifest = build()
        write_artifact(LINEAGE_KEY, manifest.model_dump(mode="json"), to_markdown(manifest))
    except Exception as error:
        _log.warning("the provenance manifest was not written: %s", error)


def _pipeline_manifest(
    client: "SyncPrefectClient", results: Mapping[str, "StepResult"], reused: Iterable[str]
) -> Lineage:
    manifest_by_job = _read_manifests(client, [step.job for step in results.values()])
    manifest_by_step = {
        name: manifest_by_job[step.job] for name, step in results.items() if step.job in manifest_by_job
    }
    last = manifest_by_step.get(list(results)[-1])
    return Lineage(
        **describe_run(_request_json(), current_tenant()),
        inputs=tuple(
            chain.from_iterable(_external_inputs(name, one) for name, one in manifest_by_step.items())
        ),
        outputs=last.outputs if last else (),
        parents=tuple(parent_jobs()),
        parts=tuple(PartJob(job=step.job, name=name, type=step.type) for name, step in results.items()),
        settled={},
        models=tuple(_merge_models(manifest_by_step.values())),
        rendering=None,
        cached=tuple(reused),
        timings_s={name: step.ran_s for name, step in results.items()},
    )


def _read_manifests(client: "SyncPrefectClient", jobs: Sequence[UUID]) -> dict[UUID, Lineage]:
    manifests: dict[UUID, Lineage] = {}
    for artifacts in read_latest_artifacts(client, jobs, [LINEAGE_KEY]).values():
        try:
            manifest = Lineage.model_validate(read_data(artifacts[LINEAGE_KEY]))
        except ValidationError:  # written by another version
            continue
        manifests[manifest.job] = manifest
    return manifests


def _external_inputs(step: str, manifest: Lineage) -> Iterator[InputFile]:
    for file in manifest.inputs:
        if not file.given.startswith("job://"):
            yield file.model_copy(update={"fields": tuple(f"{step}.{field}" for field in file.fields)})


def _merge_models(manifests: Iterable[Lineage]) -> list[UsedModel]:
    """Return all models used; a model that was replaced between two steps is listed once per content."""
    model_by_content = {(model.name, model.digest or ""): model for one in manifests for model in one.models}
    return [model_by_content[key] for key in sorted(model_by_content)]


def _batch_manifest(stored: PublishedFile, children: Sequence[PartJob], left_out: int) -> Lineage:
    run, ref = describe_run(_request_json({"rows"}), current_tenant()), stored.ref
    uri = public_uri(ref.uri, run["job"], stored.name)
    table = OutputFile(name=stored.name, uri=uri, version=ref.version, sha256=stored.sha256, size=ref.size)
    return Lineage(
        **run,
        inputs=(),
        outputs=(table,),
        parents=tuple(parent_jobs()),
        parts=tuple(children),
        parts_left_out=left_out,
        settled={},
        models=(),
        rendering=None,
        cached=(),
        timings_s={},
    )


def _request_json(without: set[str] | None = None) -> dict[str, Any]:
    context = FlowRunContext.get()
    job: Any = context.parameters.get("job") if context and context.parameters else None
    return job.model_dump(mode="json", exclude=without) if isinstance(job, BaseModel) else {}
