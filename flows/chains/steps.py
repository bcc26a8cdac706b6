"""Pipeline runner: run each step as a child job as soon as its inputs are available."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from pydantic import BaseModel, ConfigDict

from flows.chains.books import Books
from flows.chains.crew import Crew
from flows.chains.graph import Graph
from flows.chains.lineage import record_steps
from flows.chains.parts import Part, Parts, Work
from flows.chains.patience import patiently
from flows.chains.place import Place
from flows.outcome import FILE_FIELDS, PROGRESS, media_of, read_progress
from flows.pipeline_schemas import MOST_STEPS, PipelineResult, Step, StepView
from flows.prefect_state.queries import read_any_of
from tasks.errors import StepFailed
from tasks.keys import content_key
from tasks.policies import BY_CONTENT
from tasks.refs import ObjectRef


class StepMade(BaseModel):
    """The result of a step's job, and the return value of the step's task."""

    model_config = ConfigDict(frozen=True)

    job: UUID
    type: str
    result: dict[str, Any]
    ran_s: float


@task(name="step", task_run_name="{step}", **BY_CONTENT)
def take_step(key: str, step: str, made: StepMade) -> StepMade:
    """
    Record the result of a step, so that a restarted or retried pipeline finds it in the cache.

    Args:
        key:  hash of the step's work and job.
        step: step name, shown in Prefect's pages.
        made: result of the step's job.
    """
    return made


def run_steps(steps: Sequence[Step], books: Books) -> PipelineResult:
    """
    Run all steps and write the result.

    Args:
        steps:  steps of the pipeline.
        report: report of this run.

    Raises:
        StepFailed: the job of a step failed; all steps that do not depend on it have been run.
    """
    parts = Parts(books.client, books.run)
    going = _Going(Graph(steps), parts, Crew(parts, MOST_STEPS))
    place = Place(books.client, books.run)
    with going.crew.at_work():
        while True:
            going.advance()
            books.show(going.graph.ended, len(steps), going.percent(books))
            if going.graph.is_over:
                break
            place.rest()
            going.crew.look()
    if going.graph.failed:
        raise going.failure()
    result = going.result()
    _show_steps(result)
    made = {step.name: going.made[step.name] for step in steps}
    record_steps(books.client, made, sorted(going.reused))
    books.finish(result, len(steps), len(steps))
    return result


@dataclass(slots=True)
class _Going:
    """The state of a running pipeline."""

    graph: Graph
    parts: Parts
    crew: Crew
    made: dict[str, StepMade] = field(default_factory=dict[str, StepMade])
    reused: set[str] = field(default_factory=set[str])
    failed: dict[str, Part] = field(default_factory=dict[str, Part])

    def advance(self) -> None:
        """Submit all ready steps and record finished ones, until nothing changes."""
        while any([self._advance(work) for work in self.graph.ready()]):
            pass

    def _advance(self, work: Work) -> bool:
        part = self.crew.take(work)
        if part is None or not part.is_over:
            return False
        if part.is_done:
            self._take_in(work, part)
            self.graph.done[work.name] = part.id
        else:
            self.failed[work.name] = part
            self.graph.failed.add(work.name)
        return True

    def _take_in(self, work: Work, part: Part) -> None:
        how = self.parts.ended([part.id])[part.id]
        made = StepMade(job=part.id, type=work.type, result=dict(how.result), ran_s=how.ran_s)
        key = content_key(step=work.name, work=work.key, job=str(part.id))
        state = take_step(key, work.name, made, return_state=True)
        self.made[work.name] = state.result()
        if state.name == "Cached" or not part.is_own:
            self.reused.add(work.name)

    def percent(self, books: Books) -> float:
        """Return the progress over all steps; running steps count with their own progress."""
        running = [part.id for part in self.crew.unfinished]

        def read(chunk: list[UUID], limit: int, offset: int) -> list[Artifact]:
            wanted = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=[PROGRESS])
            )
            return patiently(
                lambda: books.client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset)
            )

        shares = sum(min(100.0, read_progress(note).percent) for note in read_any_of(running, read))
        return (100.0 * len(self.graph.done) + shares) / len(self.graph.steps)

    def failure(self) -> StepFailed:
        """Return the error with the failed steps, their reasons, and the steps that were not started."""
        ended = self.parts.ended([part.id for part in self.failed.values()])
        told = [
            f"Step {name} {how.status} ({how.code or how.status}): {how.message or 'no error message.'}"
            for name, part in self.failed.items()
            if (how := ended.get(part.id))
        ]
        begun = self.graph.done.keys() | self.graph.failed
        if left := [step.name for step in self.graph.steps if step.name not in begun]:
            told.append(f"Not started: {', '.join(left)}.")
        return StepFailed(" ".join(told), steps=", ".join(self.failed))

    def result(self) -> PipelineResult:
        """Return the pipeline result; the output file of the last step is the main one."""
        steps = self.graph.steps
        views = {step.name: self._view(step.name) for step in steps}
        last, result = views[steps[-1].name], self.made[steps[-1].name].result
        kinds = {name: result[name] for name in FILE_FIELDS if result.get(name)}
        shown = kinds.get("video") or kinds.get("picture")
        return PipelineResult(
            steps=views,
            name=last.name,
            video=shown,
            audio=None if shown else kinds.get("audio"),
            files=last.files,
            timings_s={name: self.made[name].ran_s for name in views},
            warnings=[
                f"{name}: {text}" for name in views for text in self.made[name].result.get("warnings", [])
            ],
        )

    def _view(self, step: str) -> StepView:
        made = self.made[step]
        stored = dict(made.result.get("files") or {})
        if media := media_of(made.result):
            stored[str(made.result["name"])] = media
        return StepView(
            type=made.type,
            job=made.job,
            name=made.result.get("name"),
            files={name: ObjectRef.model_validate(one) for name, one in stored.items()},
            reused=step in self.reused,
        )


def _show_steps(result: PipelineResult) -> None:
    rows = [
        {
            "step": name,
            "type": step.type,
            "job": str(step.job),
            "file": step.name or "",
            "seconds": result.timings_s.get(name, 0.0),
            "reused": "yes" if step.reused else "",
        }
        for name, step in result.steps.items()
    ]
    create_table_artifact(key="steps", table=rows, description="Output of each step's job")
