"""Recorder of the provenance manifest: collects inputs, models and outputs of a run and writes it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

from flows.lineage.markdown import to_markdown
from flows.lineage.run_facts import describe_run, parent_jobs
from flows.schemas.base import JobParameters
from flows.schemas.lineage import LINEAGE_KEY, InputFile, Lineage, OutputFile, ParentJob, UsedModel
from flows.schemas.provenance import Provenance
from flows.storage.output_uris import public_uri
from musetalk_core.model_registry.pins import PinnedModel
from tasks.catalog.output_index import IndexedOutput, index_output
from tasks.catalog.outputs import LINEAGE_SUFFIX, PublishedFile, publish_note
from tasks.refs import SourceFile, job_file_name
from tasks.run.reports import Report, write_artifact
from tasks.run.retry import retry_transient
from tasks.settings import get_settings
from tasks.storage.redaction import redact_secrets

_JOB_SCHEME: Final = "job://"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ProvenanceFacts:
    """
    Provenance facts collected during a run.

    Attributes:
        job:     request of the job.
        tenant:  tenant of the job.
        inputs:  source file by the reference in the request.
        outputs: stored output files.
        models:  models used, by their name in the model table, pinned by content.
        choices: values chosen for what the request left open, such as engine and voice.
        credentials: how the outputs are signed.
    """

    job: JobParameters
    tenant: str | None = None
    inputs: dict[str, SourceFile] = field(default_factory=dict[str, SourceFile])
    outputs: list[PublishedFile] = field(default_factory=list[PublishedFile])
    models: dict[str, PinnedModel] = field(default_factory=dict[str, PinnedModel])
    choices: dict[str, Any] = field(default_factory=dict[str, Any])
    credentials: Provenance = field(default_factory=Provenance)

    def record_input(self, reference: str, file: SourceFile) -> None:
        """Record an input file by its reference in the request."""
        self.inputs[reference] = file


def write_manifest(facts: ProvenanceFacts, report: Report, cached: list[str]) -> None:
    """
    Write the provenance manifest of a run: an artifact, a file beside each output, and entries of the index.

    An error while writing is logged and does not fail the job, because its outputs are already stored.

    Args:
        facts:  facts collected during the run.
        report: progress and timings of the run.
        cached: steps whose results came from the cache.
    """
    try:
        manifest = _build_manifest(facts, report, cached)
        write_artifact(LINEAGE_KEY, manifest.model_dump(mode="json"), to_markdown(manifest))
        for output in facts.outputs:
            hashes = [output.sha256, *([output.unsigned_sha256] if output.unsigned_sha256 else [])]
            indexed = IndexedOutput(job=manifest.job, name=output.name, tenant=facts.tenant)
            retry_transient(partial(index_output, hashes, indexed))
        if get_settings().store.lineage_files:
            content = manifest.model_dump_json(indent=1)
            for output in facts.outputs:
                retry_transient(partial(publish_note, output, LINEAGE_SUFFIX, content))
    except Exception as error:
        _log.warning("the provenance manifest was not written: %s", error)


def _build_manifest(facts: ProvenanceFacts, report: Report, cached: list[str]) -> Lineage:
    request = facts.job.model_dump(mode="json")
    run = describe_run(request, facts.tenant)
    return Lineage(
        **run,
        inputs=tuple(_input_file(given, file, request) for given, file in facts.inputs.items()),
        outputs=tuple(_output_file(output, run["job"], facts.credentials) for output in facts.outputs),
        parents=(*_input_jobs(facts), *parent_jobs()),
        settled=redact_secrets(facts.choices),
        models=tuple(_used_model(facts.models[name]) for name in sorted(facts.models)),
        rendering=report.rendering,  # pyright: ignore[reportArgumentType]  a record of the same shape
        cached=tuple(cached),
        timings_s={name: round(seconds, 3) for name, seconds in report.seconds.items()},
    )


def _input_file(reference: str, file: SourceFile, request: dict[str, Any]) -> InputFile:
    return InputFile(
        fields=tuple(fields_holding(request, reference)),
        given=redact_secrets(reference),
        resolved=redact_secrets(file.uri),
        version=file.version,
        name=file.name,
        sha256=file.sha256,
        size=file.size,
    )


def fields_holding(request: dict[str, Any], reference: str, prefix: str = "") -> list[str]:
    """Return the dotted names of the fields that hold a reference."""
    field_names: list[str] = []
    for name, value in request.items():
        if value == reference:
            field_names.append(f"{prefix}{name}")
        elif isinstance(value, dict):
            field_names += fields_holding(cast(dict[str, Any], value), reference, f"{prefix}{name}.")
    return field_names


def _output_file(output: PublishedFile, job_id: UUID, credentials: Provenance) -> OutputFile:
    sidecar = output.sidecar
    return OutputFile(
        name=output.name,
        uri=public_uri(output.ref.uri, job_id, output.name),
        version=output.ref.version,
        sha256=output.sha256,
        size=output.ref.size,
        manifest=credentials.manifest,
        sidecar=public_uri(sidecar[1].uri, job_id, sidecar[0]) if sidecar else None,
        signer=credentials.signer,
        unsigned_sha256=output.unsigned_sha256,
    )


def _input_jobs(facts: ProvenanceFacts) -> Iterator[ParentJob]:
    for reference in facts.inputs:
        if (parent := parent_job(reference)) is not None:
            yield parent


def parent_job(reference: str) -> ParentJob | None:
    """Return the job whose output a `job://` reference names; None for other references."""
    if not reference.startswith(_JOB_SCHEME):
        return None
    job_path = reference.removeprefix(_JOB_SCHEME)
    return ParentJob(job=UUID(job_path.partition("/")[0]), how="input", file=job_file_name(job_path) or None)


def _used_model(model: PinnedModel) -> UsedModel:
    return UsedModel(
        name=model.name, digest=model.digest, files={file.path: file.sha256 for file in model.files}
    )
