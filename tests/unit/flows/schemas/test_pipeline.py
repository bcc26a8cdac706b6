"""Pipelines as they are sent: what is wrong with a step is said at its place."""

import pytest
from pydantic import ValidationError

from flows.orchestration.dag import StepGraph
from flows.persona_sync import pipeline_steps
from flows.schemas.pipeline import PersonaSyncJob, PipelineJob

SPEAK = {"name": "speak", "type": "speech", "job": {"text": "Hello."}}
TALK = {"name": "talk", "type": "lip_sync", "job": {"video": "s3://media/a.mp4", "audio": "job://speak/wav"}}


def faults(*steps):
    with pytest.raises(ValidationError) as refused:
        PipelineJob.model_validate({"steps": steps})
    return {".".join(map(str, one["loc"])): one["msg"] for one in refused.value.errors()}


def test_steps_stay_as_they_were_sent_and_name_what_they_need():
    job = PipelineJob.model_validate({"steps": [TALK, SPEAK]})
    assert [step.needs for step in job.steps] == [{"speak"}, frozenset()]
    assert job.model_dump(mode="json", exclude_unset=True)["steps"] == [TALK, SPEAK]


def test_every_fault_has_its_place():
    told = faults(
        {"name": "Speak", "type": "speech", "job": {"text": ""}},
        {"name": "talk", "type": "lip_sync", "job": {"video": "ftp://x", "colour": 1}},
        {"name": "all", "type": "batch", "job": {}},
    )
    fields = {"video", "audio", "colour"}
    assert {"steps.0.name", "steps.2.type", *(f"steps.1.job.{field}" for field in fields)} <= told.keys()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "at least one step"),
        ([SPEAK, SPEAK], "two steps have the name speak"),
        ([TALK], "no step has that name"),
        ([{**SPEAK, "job": {"text": "job://speak"}}], "depend on each other"),
        (
            [
                {"name": "a", "type": "transcribe", "job": {"audio": "job://b"}},
                {"name": "b", "type": "transcribe", "job": {"audio": "job://a"}},
            ],
            "depend on each other",
        ),
    ],
)
def test_what_is_no_graph_is_refused(steps, said):
    assert said in faults(*steps)[""]


def test_a_step_behind_a_failed_one_is_never_begun_and_others_are():
    late = {"name": "late", "type": "transcribe", "job": {"audio": "job://talk"}}
    other = {"name": "other", "type": "speech", "job": {"text": "Beside."}}
    graph = StepGraph(PipelineJob.model_validate({"steps": [late, TALK, SPEAK, other]}).steps)
    assert [work.name for work in graph.ready_jobs()] == ["speak", "other"]
    graph.failed.add("speak")
    assert [work.name for work in graph.ready_jobs()] == ["other"] and not graph.is_finished
    graph.succeeded_jobs["other"] = "any"
    assert graph.is_finished and graph.ended_count == 2


@pytest.mark.parametrize(
    ("captions", "names", "last"),
    [
        ("none", ["lip_sync"], "lip_sync"),
        ("sidecar", ["transcript", "lip_sync"], "lip_sync"),
        ("burned", ["lip_sync", "transcript", "captioned"], "captioned"),
        ("track", ["lip_sync", "transcript", "captioned"], "captioned"),
    ],
)
def test_a_persona_is_a_pipeline_whose_last_step_is_the_finished_video(captions, names, last):
    place = {"bucket": "renders", "prefix": "p", "name": "anna"}
    job = PersonaSyncJob(video="s3://media/a.mp4", audio="s3://media/b.wav", captions=captions, output=place)
    steps = list(pipeline_steps(job))
    PipelineJob(steps=tuple(steps))
    assert [step.name for step in steps] == names
    assert steps[-1].name == last and steps[-1].job["output"] == place
    if captions == "sidecar":
        assert steps[0].job["output"] == {"bucket": "renders", "prefix": "p"}
    if captions == "burned":
        assert steps[0].job["output"] == {"name": "anna"}
