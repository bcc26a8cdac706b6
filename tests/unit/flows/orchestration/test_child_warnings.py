"""Warnings of child jobs in the results of pipelines and batches."""

from uuid import UUID

from flows.batches.manifest import Row
from flows.orchestration import batch_runner
from flows.orchestration.child_warnings import RowWarnings, codes_of, step_warnings
from flows.orchestration.dag import StepGraph
from flows.orchestration.pipeline_runner import _PipelineState
from flows.orchestration.step_result import StepResult
from flows.schemas.batch import RowView
from flows.schemas.pipeline import Step
from musetalk_core.warning_codes import WarningCode

JOB = UUID(int=1)
SILENT = WarningCode.SILENT_SOUND("the sound is silent: check the recording")
NO_SPEECH = WarningCode.NO_SPEECH("no speech was detected")


def row(name, *warnings):
    return RowView(row=1, id=name, status="succeeded", warnings=list(warnings))


def test_the_code_of_a_step_s_warning_comes_first():
    steps = [
        Step(name="speak", type="speech", job={"text": "Hello."}),
        Step(name="talk", type="lip_sync", job={"video": "s3://media/a.mp4", "audio": "job://speak"}),
    ]
    results = {
        "speak": StepResult(job=JOB, type="speech", result={"name": "a.mp3"}, ran_s=1),
        "talk": StepResult(
            job=JOB, type="lip_sync", result={"name": "a.mp4", "warnings": [SILENT, NO_SPEECH]}, ran_s=1
        ),
    }
    state = _PipelineState(StepGraph(steps), children=None, dispatcher=None, results=results)

    assert state.result().warnings == [
        "silent_sound: step talk: the sound is silent: check the recording",
        "no_speech: step talk: no speech was detected",
    ]
    assert step_warnings("talk", []) == []


def test_a_batch_tells_each_code_with_its_rows():
    found = RowWarnings()
    for one in (row("a"), row("b", SILENT, NO_SPEECH), row("c", NO_SPEECH, NO_SPEECH)):
        found.add(one)

    assert found.texts() == [
        "silent_sound: row b: the sound is silent: check the recording",
        "no_speech: 2 rows, the first is b: no speech was detected",
    ]
    assert RowWarnings().texts() == []
    assert codes_of([SILENT, NO_SPEECH, NO_SPEECH]) == "silent_sound, no_speech"


def test_a_row_has_the_first_warnings_of_its_job():
    record = batch_runner._to_record(Row(1, "a", None, key="k"))
    outcome = batch_runner.ChildOutcome("succeeded", {"warnings": [SILENT] * 30}, None, None, 1.0)
    child = batch_runner.ChildJob.__new__(batch_runner.ChildJob)
    object.__setattr__(child, "id", JOB)

    assert batch_runner._row_view(record, child, {JOB: outcome}).warnings == [SILENT] * 20
