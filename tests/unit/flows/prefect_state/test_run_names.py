"""Names of runs: what a person reads in Prefect's lists, and nothing that should not be there."""

import pytest

from flows.prefect_state.run_names import is_generated_name, job_run_name, name_without_files
from flows.registry import FLOWS

UNIQUE = "0123456789abcdef"


def named(job_type, job, **more):
    return job_run_name(job_type, FLOWS[job_type].job, job, UNIQUE, **more)


@pytest.mark.parametrize(
    ("job_type", "job", "name"),
    [
        (
            "lip_sync",
            {"video": "s3://b1c/in/anna.mp4", "audio": "s3://b1c/a b+é?#.wav"},
            "anna.mp4, a b+é?#.wav",
        ),
        ("portrait", {"image": "https://b.org/x/%E4%BD%A0.png?X-Amz-Signature=5#f", "text": "Hi."}, "你.png"),
        ("transcribe", {"audio": "file:///data/take%201.wav"}, "take 1.wav"),
        ("caption", {"video": "job://3f2a1b00-0000/talk.mp4", "captions": "job://3f2a1b00-0000"}, None),
        ("speech", {"text": "Call me on 555 0199.", "output": {"name": "greeting"}}, "greeting"),
        ("render_new", {"name": "nightly", "places": {"audio": "s3://b1c/new/"}}, "nightly"),
        ("batch", {"job_type": "speech", "manifest": "s3://b1c/rows.csv"}, "rows.csv"),
    ],
)
def test_a_run_is_named_after_the_files_of_its_job(job_type, job, name):
    expected = name or "talk.mp4, result of 3f2a1b00"
    assert named(job_type, job) == f"{job_type}: {expected} (01234567)"


def test_no_text_and_no_secret_of_an_address_is_in_a_name():
    said = named("speech", {"text": "Call me on 555 0199."})
    assert said == "speech (01234567)"
    private = {"video": "https://user:word@b.org/a.mp4?token=t0", "audio": "https://b.org/?token=t0"}
    assert named("lip_sync", private) == "lip_sync: a.mp4 (01234567)"


def test_names_are_short_and_without_control_characters():
    name = named("transcribe", {"audio": "s3://b1c/" + "x" * 300 + ".wav"})
    assert len(name) < 80 and "…" in name
    assert named("transcribe", {"audio": "s3://b1c/a\u202e\n.wav"}).isprintable()


@pytest.mark.parametrize("job", [{}, {"audio": 5}, {"audio": "not a reference"}, {"output": "text"}])
def test_an_invalid_job_has_a_name_as_well(job):
    assert named("transcribe", job).startswith("transcribe")


def test_an_upload_is_named_by_the_file_of_the_client():
    job = {"audio": "asset://0011223344556677"}
    assert named("transcribe", job, asset_name={"0011223344556677": "hello.wav"}.get) == (
        "transcribe: hello.wav (01234567)"
    )
    assert named("transcribe", job) == "transcribe: upload 00112233 (01234567)"


def test_a_child_job_is_named_after_its_step_too():
    assert named("transcribe", {"audio": "s3://b1c/a.wav"}, part="words") == (
        "transcribe: words, a.wav (01234567)"
    )


def test_a_deleted_job_keeps_its_type_only():
    assert name_without_files("lip_sync: anna.mp4 (01234567)") == "lip_sync (deleted)"


def test_generated_names_are_told_from_chosen_ones():
    from prefect.utilities.names import generate_slug

    assert all(is_generated_name(generate_slug(2)) for _ in range(200))
    chosen = [named("speech", {}), "succeeded 3f2a1b00 attempt 1", "My run", "take-1", "render"]
    assert not any(is_generated_name(name) for name in chosen)
