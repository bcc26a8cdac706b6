"""Output files of a job, read from its result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.jobs.model import Job
from flows.prefect_state.status import output_file_of
from tasks.refs import ObjectRef


@dataclass(frozen=True, slots=True)
class OutputFile:
    """An output file of a job."""

    name: str
    ref: ObjectRef

    @property
    def uri(self) -> str:
        """Location in the store."""
        return self.ref.uri

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.ref.size


def media_of(job: Job) -> Mapping[str, Any] | None:
    """Return the stored audio, video or image of a result; None for a job without media output."""
    return output_file_of(job.result or {})


def output_files(job: Job) -> list[OutputFile]:
    """Return the output files of a succeeded job, the main file first; empty for other jobs."""
    result = job.result or {}
    main_name = str(result.get("name", ""))
    stored: dict[str, Any] = dict(result.get("files") or {})
    stored |= (result.get("provenance") or {}).get("sidecars") or {}
    media = media_of(job)
    if media is not None:
        stored[main_name] = media
    names = sorted(stored, key=lambda name: name != main_name)
    return [OutputFile(name, _ref(stored[name])) for name in names]


def _ref(stored: Mapping[str, Any]) -> ObjectRef:
    fields = {field: stored[field] for field in ObjectRef.model_fields if field in stored}
    return ObjectRef.model_validate({"version": "", **fields})


def main_output_file(job: Job) -> OutputFile | None:
    """Return the main output file of a succeeded job; None for a job without files."""
    return next(iter(output_files(job)), None)
