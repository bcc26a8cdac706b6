"""Recorder of the provenance manifest: collects inputs, models and outputs of a run and writes it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import UUID

from flows.job import Job
from flows.lineage_page import page
from flows.lineage_run import about_run, wholes
from flows.lineage_schemas import LINEAGE, InputFile, Lineage, OutputFile, ParentJob, UsedModel
from flows.output_uris import public_uri
from musetalk_core.weights.pins import PinnedModel
from tasks.publish import LINEAGE_ENDING, Published, write_beside
from tasks.redaction import without_secrets
from tasks.refs import SourceFile, job_file
from tasks.reports import Report, note
from tasks.settings import get_settings

_JOB: Final = "job://"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Origins:
    """
    Provenance facts collected during a run.

    Attributes:
        job:     request of the job.
        tenant:  tenant of the job.
        inputs:  source file by the reference in the request.
        outputs: stored output files.
        models:  models used, by their name in the model table, pinned by content.
        choices: values chosen for what the request left open, such as engine and voice.
    """

    job: Job
    tenant: str | None = None
    inputs: dict[str, SourceFile] = field(default_factory=dict[str, SourceFile])
    outputs: list[Published] = field(default_factory=list[Published])
    models: dict[str, PinnedModel] = field(default_factory=dict[str, PinnedModel])
    settled: dict[str, Any] = field(default_factory=dict[str, Any])

    def took(self, given: str, file: SourceFile) -> None:
        """Record an input file by its reference in the request."""
        self.inputs[given] = file


def record(origins: Origins, report: Report, cached: list[str]) -> None:
    """
    Write the provenance manifest of a run: as an artifact, and as a file beside each output.

    An error while writing is logged and does not fail the job, because its outputs are already stored.

    Args:
        facts:  facts collected during the run.
        report: progress and timings of the run.
        cached: steps whose results came from the cache.
    """
    try:
        found = _described(origins, report, cached)
        note(LINEAGE, found.model_dump(mode="json"), page(found))
        if get_settings().store.lineage_files:
            content = found.model_dump_json(indent=1)
            for output in origins.outputs:
                write_beside(output, LINEAGE_ENDING, content)
    except Exception as error:
        _log.warning("the provenance manifest was not written: %s", error)


def _described(origins: Origins, report: Report, cached: list[str]) -> Lineage:
    asked = origins.job.model_dump(mode="json")
    run = about_run(asked, origins.tenant)
    return Lineage(
        **run,
        inputs=tuple(_input(given, file, asked) for given, file in origins.inputs.items()),
        outputs=tuple(_output(output, run["job"]) for output in origins.outputs),
        parents=(*_sources(origins), *wholes()),
        settled=without_secrets(origins.settled),
        models=tuple(_model(origins.models[name]) for name in sorted(origins.models)),
        rendering=report.rendering,  # pyright: ignore[reportArgumentType]  a record of the same shape
        cached=tuple(cached),
        timings_s={name: round(seconds, 3) for name, seconds in report.seconds.items()},
    )


def _input(given: str, file: SourceFile, asked: dict[str, Any]) -> InputFile:
    return InputFile(
        fields=tuple(_places(asked, given)),
        given=without_secrets(given),
        resolved=without_secrets(file.uri),
        version=file.version,
        name=file.name,
        sha256=file.sha256,
        size=file.size,
    )


def _places(asked: dict[str, Any], given: str, inside: str = "") -> list[str]:
    """Return the dotted names of the fields that hold a reference."""
    found: list[str] = []
    for name, value in asked.items():
        if value == given:
            found.append(f"{inside}{name}")
        elif isinstance(value, dict):
            found += _places(cast(dict[str, Any], value), given, f"{inside}{name}.")
    return found


def _output(output: Published, own: UUID) -> OutputFile:
    return OutputFile(
        name=output.name,
        uri=public_uri(output.ref.uri, own, output.name),
        version=output.ref.version,
        sha256=output.sha256,
        size=output.ref.size,
    )


def _sources(origins: Origins) -> Iterator[ParentJob]:
    for given in origins.inputs:
        if given.startswith(_JOB):
            rest = given.removeprefix(_JOB)
            yield ParentJob(job=UUID(rest.partition("/")[0]), how="input", file=job_file(rest) or None)


def _model(used: PinnedModel) -> UsedModel:
    return UsedModel(
        name=used.name, digest=used.digest, files={file.path: file.sha256 for file in used.files}
    )
