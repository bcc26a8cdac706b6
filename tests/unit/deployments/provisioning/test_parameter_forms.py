"""Forms of Prefect's pages: order, examples, and that what is valid stays the same."""

import pytest
from prefect.utilities.schema_tools.validation import validate

from deployments.provisioning.apply import parameters_schema
from deployments.provisioning.parameter_forms import ui_form
from flows.registry import FLOWS, JOB_TYPES
from flows.schemas.control import DEFAULT_CONTROL
from flows.schemas.video import LipSyncJob

LEAST = {
    "lip_sync": {"video": "s3://b1c/a.mp4", "audio": "s3://b1c/a.wav"},
    "portrait": {"image": "s3://b1c/a.png", "text": "Hello."},
    "prepare_avatar": {"video": "s3://b1c/a.mp4"},
    "speech": {"text": "Hello."},
    "transcribe": {"audio": "s3://b1c/a.wav"},
    "analyze": {"image": "s3://b1c/a.png"},
    "caption": {"video": "s3://b1c/a.mp4", "captions": "s3://b1c/a.srt"},
    "pipeline": {"steps": [{"name": "speak", "type": "speech", "job": {"text": "Hello."}}]},
    "persona_sync": {"video": "s3://b1c/a.mp4", "audio": "s3://b1c/a.wav"},
    "batch": {"job_type": "speech", "rows": [{"text": "Hello."}]},
    "render_new": {
        "name": "nightly",
        "job_type": "lip_sync",
        "places": {"video": "s3://b1c/a.mp4", "audio": "s3://b1c/new/"},
    },
    "verify": {"media": "s3://b1c/a.mp4"},
}


def form(name):
    return ui_form(parameters_schema(FLOWS[name].job, FLOWS[name].default))


def places(fields):
    return sorted(fields, key=lambda name: fields[name]["position"])


@pytest.mark.parametrize("name", FLOWS)
def test_every_field_has_a_place_a_title_and_what_is_required_comes_first(name):
    made = form(name)
    assert places(made["properties"]) == ["job", "control"]
    assert made.get("required", []) == ([] if FLOWS[name].default else ["job"])
    for group in made["definitions"].values():
        fields = group.get("properties", {})
        assert list(fields) == places(fields)
        required = group.get("required", [])
        assert set(places(fields)[: len(required)]) == set(required)
        assert all(field.get("title") or "$ref" in field for field in fields.values())


def test_what_matters_comes_before_groups_and_large_groups_last():
    fields = places(form("lip_sync")["definitions"]["LipSyncJob"]["properties"])
    assert fields[:2] == ["video", "audio"] and fields[-4:] == ["encode", "output", "label", "musetalk"]


def test_examples_are_said_and_the_model_is_left_alone():
    before = parameters_schema(LipSyncJob)
    video = ui_form(before)["definitions"]["LipSyncJob"]["properties"]["video"]
    assert video["description"].endswith("Example: `s3://media/avatars/anna.mp4`")
    assert before == parameters_schema(LipSyncJob)
    features = form("analyze")["definitions"]["AnalyzeJob"]["properties"]["features"]
    assert features["description"].endswith('Example: `["caption", "ocr", "faces"]`')


@pytest.mark.parametrize("name", JOB_TYPES)
def test_what_is_valid_stays_the_same(name):
    made, plain = form(name), parameters_schema(JOB_TYPES[name].job)
    whole = JOB_TYPES[name].job.model_validate(LEAST[name]).model_dump(mode="json")
    control = DEFAULT_CONTROL.model_dump(mode="json")
    for parameters in ({"job": LEAST[name]}, {"job": whole, "control": control}):
        assert validate(parameters, made) == validate(parameters, plain) == []
    for bad in (
        {},
        {"job": {**LEAST[name], "no_such": 1}},
        {"job": LEAST[name], "control": {"priority": "x"}},
    ):
        assert bool(validate(bad, made)) and bool(validate(bad, plain))


def shown_choices(schema, name, field):
    """The choices that Prefect's page offers: it looks a reference up as it is written."""
    found = schema["definitions"][name]["properties"][field]
    referenced = schema["definitions"].get(found.get("$ref", "").removeprefix("#/definitions/"), {})
    return (found | referenced)["enum"]


@pytest.mark.parametrize("name", ["lip_sync", "portrait", "prepare_avatar", "persona_sync"])
def test_the_engine_for_tests_is_valid_and_not_offered(name):
    schema = parameters_schema(FLOWS[name].job)
    assert "fake" in shown_choices(schema, FLOWS[name].job.__name__, "engine")

    made = form(name)
    assert shown_choices(made, FLOWS[name].job.__name__, "engine") == ["auto", "musetalk", "viseme"]
    for engine, faults in (("fake", 0), ("viseme", 0), ("imaginary", 1)):
        errors = validate({"job": LEAST[name] | {"engine": engine}}, made)
        assert len(errors) == faults, (engine, errors)


def test_no_form_offers_the_engine_for_tests():
    for name, kind in FLOWS.items():
        made = form(name)
        for model in made["definitions"].values():
            for field in model.get("properties", {}).values():
                assert "fake" not in field.get("enum", ()), (name, kind)
                assert "fake" not in str(field.get("anyOf", "")), (name, kind)
