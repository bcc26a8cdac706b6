"""Speech in a language whose sounds the lips do not know: told where a transcription knows the language."""

import pytest

from flows import transcribe as transcribe_flow
from flows.lip_sync import lip_sync
from flows.media.spoken_language import pipeline_language_warnings
from flows.persona_sync import pipeline_steps
from flows.portrait import portrait
from flows.schemas.pipeline import PersonaSyncJob, Step
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob
from musetalk_core.warning_codes import WarningCode

TOLD = f"{WarningCode.LANGUAGE_NOT_SUPPORTED}: the speech is in another language than English (de)"


@pytest.fixture
def transcribed(home, speech_file, monkeypatch):
    """A function that transcribes the speech with a model that detects a language."""

    def transcribed(code, probability):
        read = transcribe_flow.read_transcript

        def read_detected(artefact):
            found = {"model": "base", "language": code, "language_probability": probability}
            return read(artefact) | found

        with monkeypatch.context() as patched:
            patched.setattr(transcribe_flow, "read_transcript", read_detected)
            transcribe_flow.transcribe(TranscribeJob(audio=f"file://{speech_file}", beam_size=1))

    return transcribed


def warnings_of(flow, job):
    return [text for text in flow(job).warnings if text.startswith(WarningCode.LANGUAGE_NOT_SUPPORTED)]


def test_a_detected_language_is_told_by_every_job_that_moves_lips(transcribed, portrait_file, speech_file):
    files = {"audio": f"file://{speech_file}", "engine": "viseme", "fps": "5"}
    synced = LipSyncJob(video=f"file://{portrait_file}", **files)
    assert warnings_of(lip_sync, synced) == []
    transcribed("de", 0.93)

    for flow, job in ((lip_sync, synced), (portrait, PortraitJob(image=f"file://{portrait_file}", **files))):
        (warning,) = warnings_of(flow, job)
        assert warning.startswith(TOLD)
    assert warnings_of(lip_sync, synced.model_copy(update={"engine": "fake"})) == []


@pytest.mark.parametrize(("code", "probability"), [("en", 0.99), ("th", 0.5)])
def test_english_and_what_is_not_sure_are_not_told(
    transcribed, portrait_file, speech_file, code, probability
):
    transcribed(code, probability)
    job = LipSyncJob(video=f"file://{portrait_file}", audio=f"file://{speech_file}", engine="viseme", fps="5")
    assert warnings_of(lip_sync, job) == []


def result_of(step, **transcript):
    if step.type == "lip_sync":
        return {"phones": "recognised", "warnings": []}
    return {"segments": [{"text": "Guten Tag"}], **transcript} if step.type == "transcribe" else {}


@pytest.mark.parametrize("captions", ["sidecar", "track"])
@pytest.mark.parametrize("probability", [None, 0.9])
def test_a_pipeline_tells_the_language_that_its_transcript_has(captions, probability):
    job = PersonaSyncJob(video="s3://media/v.mp4", audio="s3://media/a.wav", captions=captions, language="de")
    steps = list(pipeline_steps(job))
    results = {step.name: result_of(step, language="de", language_probability=probability) for step in steps}

    (name,) = pipeline_language_warnings(steps, results)
    assert name == "lip_sync" and pipeline_language_warnings(steps, results)[name].startswith(TOLD)


@pytest.mark.parametrize(
    "change",
    [
        {"phones": "aligned"},
        {"phones": "none"},
        {"warnings": ["language_not_supported: no sounds of English were recognized"]},
        {"language": "en"},
        {"language_probability": 0.4},
        {"segments": []},
    ],
)
def test_a_pipeline_tells_nothing_without_need(change):
    steps = [
        Step(name="words", type="transcribe", job={"audio": "s3://media/a.wav"}),
        Step(name="talk", type="lip_sync", job={"video": "s3://media/v.mp4", "audio": "s3://media/a.wav"}),
    ]
    results = {
        "words": {"segments": [{}], "language": "de", "language_probability": 0.9},
        "talk": {"phones": "recognised", "warnings": []},
    }
    assert list(pipeline_language_warnings(steps, results)) == ["talk"]
    changed = {name: result | change for name, result in results.items()}
    assert pipeline_language_warnings(steps, changed) == {}
