"""Pipeline runner: run each step as a child job as soon as its inputs are available."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.media.spoken_language import pipeline_language_warnings
from flows.orchestration.child_events import ChildEvents
from flows.orchestration.child_jobs import ChildJob, ChildJobs, ChildSpec
from flows.orchestration.child_warnings import step_warnings
from flows.orchestration.dag import StepGraph
from flows.orchestration.dispatcher import Dispatcher
from flows.orchestration.lineage import write_pipeline_manifest
from flows.orchestration.pool_slot import PoolSlot
from flows.orchestration.run_report import RunReport
from flows.orchestration.step_result import StepResult
from flows.prefect_state.artifacts import read_latest_artifacts
from flows.prefect_state.status import FILE_FIELDS, PROGRESS_KEY, output_file_of, read_progress
from flows.schemas.pipeline import MAX_STEPS, PipelineResult, Step, StepView
from tasks.cache.content_keys import content_key
from tasks.errors import StepFailed
from tasks.refs import ObjectRef
from tasks.run.task_policies import CACHED_BY_CONTENT, traced


@task(name="step", task_run_name="{step}", **CACHED_BY_CONTENT)
@traced
def record_step(key: str, step: str, made: StepResult) -> StepResult:
    """
    Record the result of a step, so that a restarted or retried pipeline finds it in the cache.

    Args:
        key:  hash of the step's work and job.
        step: step name, shown in Prefect's pages.
        made: result of the step's job.
    """
    return made


def run_pipeline(steps: Sequence[Step], report: RunReport) -> PipelineResult:
    """
    Run all steps and write the result.

    Args:
        steps:  steps of the pipeline.
        report: report of this run.

    Raises:
        StepFailed: the job of a step failed; all steps that do not depend on it have been run.
    """
    children = ChildJobs(report.client, report.run)
    state = _PipelineState(StepGraph(steps), children, Dispatcher(children, MAX_STEPS))
    with state.dispatcher.cancel_on_exit(), ChildEvents(children.parents) as events:
        slot = PoolSlot(report.client, report.run, events)
        while True:
            state.advance()
            report.update_progress(state.graph.ended_count, len(steps), state.percent(report))
            if state.graph.is_finished:
                break
            state.dispatcher.poll(slot.wait_or_yield())
    if state.graph.failed:
        raise state.failure()
    result = state.result()
    _write_step_table(result)
    results = {step.name: state.results[step.name] for step in steps}
    write_pipeline_manifest(report.client, results, sorted(state.reused))
    report.finish(result, len(steps), len(steps))
    return result


@dataclass(slots=True)
class _PipelineState:
    """The state of a running pipeline."""

    graph: StepGraph
    children: ChildJobs
    dispatcher: Dispatcher
    results: dict[str, StepResult] = field(default_factory=dict[str, StepResult])
    reused: set[str] = field(default_factory=set[str])
    failed: dict[str, ChildJob] = field(default_factory=dict[str, ChildJob])

    def advance(self) -> None:
        """Submit all ready steps and record finished ones, until nothing changes."""
        while any([self._advance_step(work) for work in self.graph.ready_jobs()]):
            pass

    def _advance_step(self, spec: ChildSpec) -> bool:
        child = self.dispatcher.submit(spec)
        if child is None or not child.is_finished:
            return False
        if child.is_successful:
            self._record_success(spec, child)
            self.graph.succeeded_jobs[spec.name] = child.id
        else:
            self.failed[spec.name] = child
            self.graph.failed.add(spec.name)
        return True

    def _record_success(self, spec: ChildSpec, child: ChildJob) -> None:
        outcome = self.children.outcomes([child.id])[child.id]
        result = StepResult(job=child.id, type=spec.type, result=dict(outcome.result), ran_s=outcome.ran_s)
        key = content_key(step=spec.name, work=spec.key, job=str(child.id))
        state = record_step(key, spec.name, result, return_state=True)
        self.results[spec.name] = state.result()
        if state.name == "Cached" or not child.is_created_by_this_run:
            self.reused.add(spec.name)

    def percent(self, report: RunReport) -> float:
        """Return the progress over all steps; running steps count with their own progress."""
        running = [part.id for part in self.dispatcher.unfinished]

        artifacts = read_latest_artifacts(report.client, running, [PROGRESS_KEY])
        running_percent = sum(
            min(100.0, read_progress(by_key[PROGRESS_KEY]).percent) for by_key in artifacts.values()
        )
        return (100.0 * len(self.graph.succeeded_jobs) + running_percent) / len(self.graph.steps)

    def failure(self) -> StepFailed:
        """Return the error with the failed steps, their reasons, and the steps that were not started."""
        outcomes = self.children.outcomes([part.id for part in self.failed.values()])
        messages = [
            f"Step {name} {how.status} ({how.code or how.status}): {how.message or 'no error message.'}"
            for name, part in self.failed.items()
            if (how := outcomes.get(part.id))
        ]
        started = self.graph.succeeded_jobs.keys() | self.graph.failed
        if not_started := [step.name for step in self.graph.steps if step.name not in started]:
            messages.append(f"Not started: {', '.join(not_started)}.")
        return StepFailed(" ".join(messages), steps=", ".join(self.failed))

    def result(self) -> PipelineResult:
        """Return the pipeline result; the output file of the last step is the main one."""
        steps = self.graph.steps
        views = {step.name: self._step_view(step.name) for step in steps}
        last, result = views[steps[-1].name], self.results[steps[-1].name].result
        languages = pipeline_language_warnings(steps, {name: self.results[name].result for name in views})
        file_by_field = {name: result[name] for name in FILE_FIELDS if result.get(name)}
        visual = file_by_field.get("video") or file_by_field.get("picture")
        return PipelineResult(
            steps=views,
            name=last.name,
            video=visual,
            audio=None if visual else file_by_field.get("audio"),
            files=last.files,
            timings_s={name: self.results[name].ran_s for name in views},
            warnings=[text for name in views for text in self._warnings_of(name, languages.get(name))],
        )

    def _warnings_of(self, step: str, language: str | None) -> list[str]:
        found = self.results[step].result.get("warnings", [])
        return step_warnings(step, [*found, *([language] if language else [])])

    def _step_view(self, step: str) -> StepView:
        result = self.results[step]
        files = dict(result.result.get("files") or {})
        if media := output_file_of(result.result):
            files[str(result.result["name"])] = media
        return StepView(
            type=result.type,
            job=result.job,
            name=result.result.get("name"),
            files={name: ObjectRef.model_validate(one) for name, one in files.items()},
            reused=step in self.reused,
        )


def _write_step_table(result: PipelineResult) -> None:
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
